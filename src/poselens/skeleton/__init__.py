"""The skeleton branch, in the order in which joints pass through it. Paper, Section 3.3.

``ready``      what is done once a clip: people in order, no gaps, facing the camera
``prepare``    whole batches of ready clips to the network's joints, composed of

    ``sampling``     which frames to read: crop and resize, uniform, random
    ``normalise``    origin and unit
    ``augment``      variation in training, drawn for an epoch at once

``streams``    joints, bones and their motion
``graph``      the start of the three topologies
``ctr_gcn``    one block: refined topologies, several temporal scales, out of

    ``fused``          the operations that cost it its time; on a GPU they are
    ``quick``          launches of kernels and their gradients
    ``kernels_space``  kernels across joints
    ``kernels_time``   kernels along time

``network``    ten blocks, the mean over the people present, the graph of Eq. (9)
``projection`` the head g of Eq. (9), for the contrast
``build``      a layout and plain values become a network
``published``  weights of the published CTR-GCN, in ours
"""
