"""The RGB branch, section 3.2: from a clip of frames to the logits of its classes.

In the order in which the data passes:

====================  ===================================================================
difference_stem       what moves within a snippet, beside the backbone's own first layers
temporal_shift        mixing of neighbouring frames before the first convolution of a block
motion_attention      MA, Eq. (3)-(5)
temporal_aggregation  TA, Eq. (6)-(8)
staa                  MA then TA, and which blocks carry them
resnet, mobilenetv2   the backbones, under torchvision's parameter names
network               backbone, pooling, classifier, mean over the frames
memory                what a causal network keeps of the frames before
build                 the one place where a network is put together
published             weights of others, and of our runs, into a network
====================  ===================================================================
"""
