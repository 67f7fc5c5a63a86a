"""From a raw sample to network input. Sections 3 and 3.1.

In order of the data's passage: ``segments`` (which frames), ``crop`` (which region, Eq. 1-2),
``augment`` (pixels and joints together), ``look`` (the same of whole batches, on a GPU), ``cache``
and ``packed`` (regions decoded once, and how a frame of them is kept), ``regions`` (those of a data
set), ``views`` (what is looked at in test), ``assemble`` (samples), ``batches`` (samples in order,
on a device), ``resident`` (skeletons on the device, prepared in batches), ``stream`` (one stream's
network and input, made from their description).
"""
