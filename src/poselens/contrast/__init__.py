"""Class-aware contrast of skeleton graphs. Paper, Section 3.3.

In the order of the method: ``memory_bank`` keeps graphs of earlier steps, ``class_similarity``
(Eq. 10) says which classes an anchor looks like, ``negatives`` chooses what to push away, and
``losses`` (Eq. 12) pulls and pushes.
"""
