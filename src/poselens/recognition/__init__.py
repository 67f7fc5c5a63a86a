"""Recognizer: a bundle and a clip in, scores out. The door for everybody else."""
