"""poselens: fine-grained human action recognition from video and skeleton together."""
