"""ELAN's annotation files and their tab-delimited text."""

from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from boris_files import write_videos


def eaf(
    tiers: dict[str, list[tuple[float, float, str]]],
    media: list[str],
    *,
    participant: str = "",
    referring: dict[str, list[tuple[int, str]]] | None = None,
) -> str:
    """An EAF 3.0 document; ``referring`` has tiers of annotations that refer to earlier ones."""
    slots, parts = [], []
    count = 0
    for name, annotations in tiers.items():
        body = []
        for start, end, text in annotations:
            for time in (start, end):
                slots.append(
                    f'<TIME_SLOT TIME_SLOT_ID="ts{len(slots)}" TIME_VALUE="{round(time * 1000)}"/>'
                )
            body.append(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{count}" '
                f'TIME_SLOT_REF1="ts{len(slots) - 2}" TIME_SLOT_REF2="ts{len(slots) - 1}">'
                f"<ANNOTATION_VALUE>{escape(text)}</ANNOTATION_VALUE>"
                "</ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
            count += 1
        who = f" PARTICIPANT={quoteattr(participant)}" if participant else ""
        parts.append(
            f'<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID={quoteattr(name)}{who}>\n'
            + "\n".join(body) + "\n</TIER>"
        )  # fmt: skip
    for name, annotations in (referring or {}).items():
        rows = [
            f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="r{number}" ANNOTATION_REF="a{refers}">'
            f"<ANNOTATION_VALUE>{escape(text)}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
            for number, (refers, text) in enumerate(annotations)
        ]
        parts.append(f"<TIER TIER_ID={quoteattr(name)}>\n" + "\n".join(rows) + "\n</TIER>")
    descriptors = "\n".join(
        f'<MEDIA_DESCRIPTOR MEDIA_URL="file:///D:/old%20place/{name}" MIME_TYPE="video/mp4" '
        f'RELATIVE_MEDIA_URL="./{name}"/>'
        for name in media
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-01-02T03:04:05+00:00" FORMAT="3.0" '
        'VERSION="3.0">\n'
        f'<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n{descriptors}\n</HEADER>\n'
        "<TIME_ORDER>\n" + "\n".join(slots) + "\n</TIME_ORDER>\n" + "\n".join(parts)
        + '\n<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>\n'
        "</ANNOTATION_DOCUMENT>\n"
    )  # fmt: skip


def clock(seconds: float) -> str:
    return f"00:00:{seconds:06.3f}"


def text_rows(tier: str, annotations: list[tuple[float, float, str]]) -> str:
    """Tab-delimited text as ELAN writes it when nothing is changed: no header."""
    return "".join(
        f"{tier}\t\t{clock(a)}\t{a:.3f}\t{clock(b)}\t{b:.3f}\t{clock(b - a)}\t{b - a:.3f}\t{text}\n"
        for a, b, text in annotations
    )


def importing(root: Path) -> tuple[list[object], str, str]:
    """What follows ``poselens data import``, the protocol, and the branch that can train."""
    names = [f"talk{n}" for n in range(6)]
    write_videos(root / "elan", [f"{name}.mp4" for name in names])
    for name in names:
        signs = [(k, k + 1, ("left", "right")[k % 2]) for k in range(4)]
        document = eaf({"sign": signs, "words": [(0, 4, "hello")]}, [f"{name}.mp4"])
        (root / f"elan/{name}.eaf").write_text(document)
    return ["elan", root / "elan", "--tier", "sign"], "random", "rgb"
