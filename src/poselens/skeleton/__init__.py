"""The skeleton branch, in the order in which joints pass through it. Paper, Section 3.3.

``prepare``    one stored clip to the array in a batch, composed of

    ``sampling``     trim, bridge gaps, crop and resize over time
    ``normalise``    origin, unit and view
    ``augment``      variation in training

``streams``    joints, bones and their motion
``graph``      the start of the three topologies
``ctr_gcn``    one block: refined topologies, several temporal scales
``network``    ten blocks, the mean over the people present, the graph of Eq. (9)
``projection`` the head g of Eq. (9), for the contrast
``build``      a layout and plain values become a network
``published``  weights of the published CTR-GCN, in ours
"""
