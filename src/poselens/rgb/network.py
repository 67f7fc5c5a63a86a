"""The RGB network: backbone, pooling, classifier, mean over the frames."""

from jaxtyping import Float
from torch import Tensor, nn


class RgbNetwork(nn.Module):
    """Classify a clip by the mean of the logits of its frames. TSN and TSM; section 3.2."""

    def __init__(
        self, *, backbone: nn.Module, channels: int, num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.fc = nn.Linear(channels, num_classes)
        nn.init.normal_(self.fc.weight, 0, 0.001)  # TSM's
        nn.init.zeros_(self.fc.bias)

    def features(self, clip: Float[Tensor, "n t 3 h w"]) -> Float[Tensor, "n t c i j"]:
        """Return the last feature maps of every frame."""
        maps: Tensor = self.backbone(clip)
        return maps

    def forward(self, clip: Float[Tensor, "n t 3 h w"]) -> Float[Tensor, "n k"]:
        """Return the logits of RGB clips, normalised with ImageNet's mean and deviation."""
        kind = self.fc.weight.dtype
        pooled = self.features(clip).mean(dim=(3, 4), dtype=kind)  # (n, t, c)
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits.mean(dim=1)
