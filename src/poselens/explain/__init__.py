"""What a network looked at: attribution of both branches, its checks and its pictures. Figure 3."""
