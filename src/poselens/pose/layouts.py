"""Joint layouts as declared data: names, bones, mirror pairs and centre.

A layout is a tree. ``parents`` gives each joint the joint one step nearer to the centre; the edges,
the bone stream and the spatial partition of the graph all follow from it. Joints that come in pairs
start with ``left`` and ``right``, so the mirror follows from the names; a layout of a user's own
(``poselens.pose.declared``) may name its pairs instead.
"""

import difflib
from dataclasses import dataclass
from typing import Literal

from poselens.errors import SkeletonError, UsageError

Side = Literal["left", "right", "middle"]
_OTHER_SIDE = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Layout:
    """A named skeleton.

    Attributes:
        name: Key under which data sets and bundles refer to it.
        joints: Joint names in storage order.
        parents: For each joint the index of the joint one step nearer to the centre, which is its
            own parent.
        pairs: (left, right) joints of a layout whose mirror does not follow from the names; joints
            in no pair are on the midline. None where it follows from the names.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...] | None = None

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
        if self.pairs is not None:
            swap = {joint: other for pair in self.pairs for joint, other in (pair, pair[::-1])}
            return tuple(swap.get(joint, joint) for joint in range(len(self)))
        return tuple(self.joints.index(counterpart(name)) for name in self.joints)

    @property
    def sides(self) -> tuple[Side, ...]:
        """For each joint the side of the body it is on."""
        if self.pairs is not None:
            left, right = ({pair[side] for pair in self.pairs} for side in (0, 1))
            return tuple(
                "left" if joint in left else "right" if joint in right else "middle"
                for joint in range(len(self))
            )
        return tuple(_side(name) for name in self.joints)

    def index(self, joint: str) -> int:
        """Return the position of a joint by name."""
        return self.joints.index(joint)


def _side(name: str) -> Side:
    first = name.split("_")[0]
    return "left" if first == "left" else "right" if first == "right" else "middle"


def counterpart(name: str) -> str:
    """Return the name a joint has on the other side; its own on the midline."""
    side = name.split("_")[0]
    return _OTHER_SIDE.get(side, side) + name[len(side) :]


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

_COCO_LIMBS = (
    "left_elbow<left_shoulder right_elbow<right_shoulder "
    "left_wrist<left_elbow right_wrist<right_elbow "
)

_OPENPOSE_ARMS = (
    "nose<neck neck<neck right_shoulder<neck right_elbow<right_shoulder right_wrist<right_elbow "
    "left_shoulder<neck left_elbow<left_shoulder left_wrist<left_elbow "
)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        # order: cocodataset.org, key points. The nose is the root: shoulders and head meet there,
        # as in PYSKL's corrected COCO graph
        _layout(
            "coco-17",
            "nose<nose left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye "
            "left_shoulder<nose right_shoulder<nose " + _COCO_LIMBS + "left_hip<left_shoulder "
            "right_hip<right_shoulder left_knee<left_hip right_knee<right_hip left_ankle<left_knee "
            "right_ankle<right_knee",
        ),
        # UTD-MHAD's order of the Kinect v1 joints: head first
        _layout(
            "kinect-20",
            "head<shoulder_centre shoulder_centre<spine spine<spine hip_centre<spine "
            + _KINECT_V1_LIMBS,
        ),
        # order: NUI_SKELETON_POSITION_INDEX of the Kinect SDK 1.8, as NW-UCLA stores it: hip first.
        # CTR-GCN's centre is shoulder_centre
        _layout(
            "ucla-20",
            "hip_centre<spine spine<spine shoulder_centre<spine head<shoulder_centre "
            + _KINECT_V1_LIMBS,
        ),
        # order and tree: the BVH files of Bandai-Namco-Research-Motiondataset
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
        # order: JointType of the Kinect SDK 2.0, which NTU RGB+D counts from 1. NTU joint 21 (index
        # 20), the top of the spine, is the root that every limb leads to. Departure: hand tips hang
        # from hands, where CTR-GCN hangs them from thumbs
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
        # order and bones: POSE_COCO_BODY_PARTS and POSE_BODY_PART_PAIRS of OpenPose,
        # src/openpose/pose/poseParameters.cpp. Departure: its pairs shoulder-ear, which close
        # circles, are left out, and the neck is the root
        _layout(
            "openpose-18",
            _OPENPOSE_ARMS + "right_hip<neck right_knee<right_hip right_ankle<right_knee "
            "left_hip<neck left_knee<left_hip left_ankle<left_knee "
            "right_eye<nose left_eye<nose right_ear<right_eye left_ear<left_eye",
        ),
        # order and bones: POSE_BODY_25_BODY_PARTS there. Departure: as openpose-18
        _layout(
            "openpose-25",
            _OPENPOSE_ARMS + "mid_hip<neck "
            "right_hip<mid_hip right_knee<right_hip right_ankle<right_knee "
            "left_hip<mid_hip left_knee<left_hip left_ankle<left_knee "
            "right_eye<nose left_eye<nose right_ear<right_eye left_ear<left_eye "
            "left_big_toe<left_ankle left_small_toe<left_big_toe left_heel<left_ankle "
            "right_big_toe<right_ankle right_small_toe<right_big_toe right_heel<right_ankle",
        ),
        # order: Halpe-FullBody's first 26 key points (github.com/Fang-Haoshu/Halpe-FullBody; head
        # is the top of the head); bones: MMPose's configs/_base_/datasets/halpe26.py. Departure:
        # its bones ear-shoulder and eye-eye close circles; instead of them the nose hangs from the
        # neck, which is the root
        _layout(
            "halpe-26",
            "nose<neck left_eye<nose right_eye<nose left_ear<left_eye right_ear<right_eye "
            "left_shoulder<neck right_shoulder<neck " + _COCO_LIMBS + "left_hip<hip right_hip<hip "
            "left_knee<left_hip right_knee<right_hip left_ankle<left_knee right_ankle<right_knee "
            "head<neck neck<neck hip<neck left_big_toe<left_ankle right_big_toe<right_ankle "
            "left_small_toe<left_ankle right_small_toe<right_ankle "
            "left_heel<left_ankle right_heel<right_ankle",
        ),
        # order and bones: PoseLandmark and POSE_CONNECTIONS of MediaPipe,
        # mediapipe/python/solutions/pose.py. Departure: its face is not connected with the body,
        # and hands, feet and trunk are circles; here the nose is the root, shoulders and mouth hang
        # from it, hips from shoulders, fingers from wrists, heel and toe from the ankle
        _layout(
            "mediapipe-33",
            "nose<nose left_eye_inner<nose left_eye<left_eye_inner left_eye_outer<left_eye "
            "right_eye_inner<nose right_eye<right_eye_inner right_eye_outer<right_eye "
            "left_ear<left_eye_outer right_ear<right_eye_outer left_mouth<nose right_mouth<nose "
            "left_shoulder<nose right_shoulder<nose " + _COCO_LIMBS + "left_pinky<left_wrist "
            "right_pinky<right_wrist left_index<left_wrist right_index<right_wrist "
            "left_thumb<left_wrist right_thumb<right_wrist "
            "left_hip<left_shoulder right_hip<right_shoulder left_knee<left_hip "
            "right_knee<right_hip left_ankle<left_knee right_ankle<right_knee left_heel<left_ankle "
            "right_heel<right_ankle left_foot_index<left_ankle right_foot_index<right_ankle",
        ),
        # order and tree: the 17 joints that VideoPose3D's common/h36m_dataset.py keeps of
        # Human3.6M's 32; names: H36M_NAMES in data_utils.py of 3d-pose-baseline (Hip, RFoot,
        # Neck/Nose). A foot is the ankle, the head its top
        _layout(
            "h36m-17",
            "hip<hip right_hip<hip right_knee<right_hip right_foot<right_knee "
            "left_hip<hip left_knee<left_hip left_foot<left_knee "
            "spine<hip thorax<spine neck_nose<thorax head<neck_nose "
            "left_shoulder<thorax left_elbow<left_shoulder left_wrist<left_elbow "
            "right_shoulder<thorax right_elbow<right_shoulder right_wrist<right_elbow",
        ),
    )
}

_declared: dict[str, Layout] = {}


def known_layouts() -> dict[str, Layout]:
    """Return every layout by name: those of this package, then those declared in this process."""
    return {**LAYOUTS, **_declared}


def declare_layout(layout: Layout) -> None:
    """Make a layout known under its name in this process; saying the same again is allowed.

    Raises:
        UsageError: ``CFG-044`` when the name is one of this package's, or stands for other joints,
            bones or mirror pairs already.
    """
    if layout.name in LAYOUTS:
        raise UsageError(
            "CFG-044",
            f"layout {layout.name!r} is built in and cannot be declared again",
            mend="give your layout another name, or leave its declaration out",
        )
    earlier = _declared.get(layout.name, layout)
    differs = [
        what
        for what in ("joints", "parents", "sides", "mirror")
        if getattr(earlier, what) != getattr(layout, what)
    ]
    if differs:
        raise UsageError(
            "CFG-044",
            f"layout {layout.name!r} is declared in two ways: the {differs[0]} differ",
            mend="give one of the two layouts another name",
        )
    _declared[layout.name] = earlier


def get_layout(name: str) -> Layout:
    """Return a layout by name.

    Raises:
        UsageError: ``CFG-003`` for an unknown name, with the nearest known one.
    """
    known = known_layouts()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        "CFG-003",
        f"unknown joint layout {name!r}{guess}",
        mend=f"use one of {', '.join(known)}, or declare it",
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
    fitting = [name for name, other in known_layouts().items() if len(other) == found]
    mend = (
        f"these joints fit {' or '.join(fitting)}"
        if fitting
        else "declare the layout of these joints (docs/concepts/layouts.md)"
    )
    raise SkeletonError(
        "SKEL-004",
        f"found {found} joints, expected {len(layout)} ({layout.name})",
        file=file,
        where=where,
        mend=mend,
    )
