"""Joint layouts as declared data: names, bones, mirror pairs and centre.

A layout is a tree. ``parents`` gives each joint the joint one step nearer to the centre; the edges,
the bone stream and the spatial partition of the graph all follow from it. Joints that come in pairs
start with ``left`` and ``right``, so the mirror follows from the names.
"""

import difflib
from dataclasses import dataclass

from poselens.errors import SkeletonError, UsageError


@dataclass(frozen=True)
class Layout:
    """A named skeleton.

    Attributes:
        name: Key under which data sets and bundles refer to it.
        joints: Joint names in storage order.
        parents: For each joint the index of the joint one step nearer to the centre, which is its
            own parent.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def centre(self) -> int:
        """Index of the joint every limb leads to."""
        return next(joint for joint, parent in enumerate(self.parents) if joint == parent)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Bones as (joint, parent), one for every joint but the centre."""
        return tuple(
            (joint, parent) for joint, parent in enumerate(self.parents) if joint != parent
        )

    @property
    def mirror(self) -> tuple[int, ...]:
        """For each joint the index of its counterpart on the other side, itself on the midline."""
        index = {name: position for position, name in enumerate(self.joints)}
        swap = {"left": "right", "right": "left"}
        return tuple(
            index[swap.get(side, side) + rest]
            for side, rest in (
                (name.split("_")[0], name[len(name.split("_")[0]) :]) for name in self.joints
            )
        )

    def index(self, joint: str) -> int:
        """Return the position of a joint by name."""
        return self.joints.index(joint)


def _layout(name: str, tree: str) -> Layout:
    """Read ``joint<parent`` pairs in storage order; the centre names itself."""
    pairs = [entry.split("<") for entry in tree.split()]
    joints = tuple(joint for joint, _ in pairs)
    return Layout(name, joints, tuple(joints.index(parent) for _, parent in pairs))


_KINECT_V1_LIMBS = (
    "left_shoulder<shoulder_centre left_elbow<left_shoulder left_wrist<left_elbow "
    "left_hand<left_wrist "
    "right_shoulder<shoulder_centre right_elbow<right_shoulder right_wrist<right_elbow "
    "right_hand<right_wrist "
    "left_hip<hip_centre left_knee<left_hip left_ankle<left_knee left_foot<left_ankle "
    "right_hip<hip_centre right_knee<right_hip right_ankle<right_knee right_foot<right_ankle"
)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        # the nose is the root: shoulders and head meet there, as in PYSKL's corrected COCO graph
        _layout(
            "coco-17",
            "nose<nose left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye "
            "left_shoulder<nose right_shoulder<nose left_elbow<left_shoulder "
            "right_elbow<right_shoulder "
            "left_wrist<left_elbow right_wrist<right_elbow left_hip<left_shoulder "
            "right_hip<right_shoulder left_knee<left_hip right_knee<right_hip left_ankle<left_knee "
            "right_ankle<right_knee",
        ),
        # UTD-MHAD's order of the Kinect v1 joints: head first
        _layout(
            "kinect-20",
            "head<shoulder_centre shoulder_centre<spine spine<spine hip_centre<spine "
            + _KINECT_V1_LIMBS,
        ),
        # Kinect SDK order, as NW-UCLA stores it: hip first. CTR-GCN's centre is shoulder_centre
        _layout(
            "ucla-20",
            "hip_centre<spine spine<spine shoulder_centre<spine head<shoulder_centre "
            + _KINECT_V1_LIMBS,
        ),
        _layout(
            "bandai-22",
            "root<hips hips<hips spine<hips chest<spine neck<chest head<neck "
            "left_shoulder<chest left_upper_arm<left_shoulder left_lower_arm<left_upper_arm "
            "left_hand<left_lower_arm "
            "right_shoulder<chest right_upper_arm<right_shoulder right_lower_arm<right_upper_arm "
            "right_hand<right_lower_arm "
            "left_upper_leg<hips left_lower_leg<left_upper_leg left_foot<left_lower_leg "
            "left_toes<left_foot "
            "right_upper_leg<hips right_lower_leg<right_upper_leg right_foot<right_lower_leg "
            "right_toes<right_foot",
        ),
        # NTU joint 21 (index 20), the top of the spine, is the root that every limb leads to;
        # hand tips hang from hands, where CTR-GCN hangs them from thumbs
        _layout(
            "ntu-25",
            "spine_base<spine_mid spine_mid<spine_shoulder neck<spine_shoulder head<neck "
            "left_shoulder<spine_shoulder left_elbow<left_shoulder left_wrist<left_elbow "
            "left_hand<left_wrist "
            "right_shoulder<spine_shoulder right_elbow<right_shoulder right_wrist<right_elbow "
            "right_hand<right_wrist "
            "left_hip<spine_base left_knee<left_hip left_ankle<left_knee left_foot<left_ankle "
            "right_hip<spine_base right_knee<right_hip right_ankle<right_knee "
            "right_foot<right_ankle "
            "spine_shoulder<spine_shoulder left_hand_tip<left_hand left_thumb<left_hand "
            "right_hand_tip<right_hand right_thumb<right_hand",
        ),
    )
}


def get_layout(name: str) -> Layout:
    """Return a layout by name.

    Raises:
        UsageError: ``CFG-003`` for an unknown name, with the nearest known one.
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    near = difflib.get_close_matches(name, LAYOUTS, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        "CFG-003", f"unknown joint layout {name!r}{guess}", mend=f"use one of {', '.join(LAYOUTS)}"
    )


def require_joint_count(
    found: int, layout: Layout, *, file: str | None = None, where: str | None = None
) -> None:
    """Refuse joints that do not fit a layout, naming the layouts that would.

    Raises:
        SkeletonError: ``SKEL-004`` when ``found`` differs from the layout's joint count.
    """
    if found == len(layout):
        return
    fitting = [name for name, other in LAYOUTS.items() if len(other) == found]
    mend = (
        f"these joints fit {' or '.join(fitting)}"
        if fitting
        else "declare the layout of these joints"
    )
    raise SkeletonError(
        "SKEL-004",
        f"found {found} joints, expected {len(layout)} ({layout.name})",
        file=file,
        where=where,
        mend=mend,
    )
