"""Class-aware contrast of skeleton graphs. Paper, Section 3.3.

In the order of the method:

``memory_bank``         graphs of earlier steps, one row of slots per class
``class_similarity``    which classes an anchor looks like (Eq. 10)
``negatives``           what to push away: hard, random, class-aware
``positives``           what to pull close
``losses``              pull and push (Eq. 12)
``tally``               what was contrasted with what, for the report
``ranks``               the processes of a distributed run

Beside the axes of ``poselens.types``, a bank has ``k`` rows of ``s`` slots, and features have ``d``
dimensions. A slot's *place* is its position in the flattened ``(k s)``.
"""
