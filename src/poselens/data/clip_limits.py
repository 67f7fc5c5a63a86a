"""How large the joints of one clip may be; more is refused before anything is allocated."""

FILE_LIMIT = 64 * 1024 * 1024
FRAME_LIMIT = 20_000
PEOPLE_LIMIT = 32
