"""The RGB branch: residual network, temporal shift, STAA. Section 3.2."""
