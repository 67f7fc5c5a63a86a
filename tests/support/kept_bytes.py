"""What stands for the kept frames of a clip, in a module that a decoding process can import."""


def bytes_of(clip):
    return [bytes(48)] * (clip + 1)
