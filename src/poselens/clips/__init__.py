"""From a raw sample to network input: segments, crop, augmentation, batches. Sections 3 and 3.1."""
