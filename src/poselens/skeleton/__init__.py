"""The skeleton branch: CTR-GCN and its streams. Section 3.3."""
