#!/bin/sh
# A run that goes on with 2, then 4 processes, then 1, on data drawn here, beside one that one
# process did alone: the same clips in the same order, so the same losses but for rounding.
#
#   sh benchmarks/resume_ranks.sh DIR            GPUs: 2 -> 4 -> 1 (four needed), two minutes
#   DEVICE=cpu FEW=2 MANY=2 sh benchmarks/resume_ranks.sh DIR
#
# PYTHON names the interpreter. Prints one JSON line with the largest difference of the losses.
set -eu
dir=$1
python=${PYTHON:-python}
device=${DEVICE:-cuda}
few=${FEW:-2}
many=${MANY:-4}
mkdir -p "$dir"
[ -d "$dir/data" ] || "$python" -m poselens data synth --out "$dir/data" --clips "${CLIPS:-160}" --seed 3

# train RANKS OUT [OPTION]..., in the place of its shell. Off is what rounds or draws differently on
# other shares: bfloat16, dropout; and the contrast takes all, for the choice of a few turns on a rounding
train() {
  ranks=$1 out=$2
  shift 2
  exec "$python" -m torch.distributed.run --standalone --nproc-per-node "$ranks" -m poselens train skeleton \
    "$dir/data" --recipe tiny --protocol cross-subject --out "$out" --device "$device" \
    --set training.epochs=6 --set training.amp=off --set network.dropout=0 --set training.lr=0.002 \
    --set training.sync_batchnorm=true --set 'contrast={positives: 1000, negatives: 10000, cap: null}' "$@"
}

# rows OUT: rows of training in a log that may not be there yet
rows() {
  if [ -f "$1/log.jsonl" ]; then grep -c '"train"' "$1/log.jsonl" || true; else echo 0; fi
}

# stop OUT ROWS PID: SIGTERM once the log has so many rows of training
stop() {
  while [ "$(rows "$1")" -lt "$2" ]; do
    kill -0 "$3"
    sleep 0.1
  done
  kill -TERM "$3"
  wait "$3" || true
}

rm -rf "$dir/alone" "$dir/moved"
(train 1 "$dir/alone")
train "$few" "$dir/moved" & stop "$dir/moved" 2 $!
train "$many" "$dir/moved" --resume & stop "$dir/moved" 4 $!
(train 1 "$dir/moved" --resume)

"$python" - "$dir" "$few" "$many" "$device" <<'END'
import json
import sys
from pathlib import Path

folder, few, many, device = Path(sys.argv[1]), *sys.argv[2:]
one, other = (
    [json.loads(line) for line in (folder / run / "log.jsonl").read_text().splitlines()]
    for run in ("alone", "moved")
)
assert len(one) == len(other), (len(one), len(other))
apart = [abs(a["loss"] - b["loss"]) for a, b in zip(one, other) if a["split"] == "train"]
print(json.dumps({"resume": f"{few} -> {many} -> 1", "device": device, "epochs": len(apart),
                  "largest_difference_of_losses": max(apart), "by_epoch": apart}))
END
