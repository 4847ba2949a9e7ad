"""Bad input to the losses that compare element with element."""

F = "nn.functional."


def x(t):
    return t.ones(4, 3)


def half(t):
    return t.ones(4, 3) * 0.5


BAD = [
    (F + "mse_loss", lambda t: (x(t), t.ones(2, 3)), RuntimeError, "must match the size"),
    (F + "mse_loss", lambda t: (x(t).long(), x(t).long()), NotImplementedError, "not implemented"),
    (F + "mse_loss", lambda t: ((x(t), x(t)), {"reduction": "all"}), ValueError, "not a valid"),
    (F + "mse_loss", lambda t: ((x(t), x(t)), {"weight": t.ones(3)}), ValueError, "same size"),
    (F + "l1_loss", lambda t: (x(t), t.ones(2, 3)), RuntimeError, "must match the size"),
    (F + "huber_loss", lambda t: ((x(t), x(t)), {"delta": 0}), RuntimeError, "non-positive"),
    (F + "smooth_l1_loss", lambda t: ((x(t), x(t)), {"beta": -1}), RuntimeError, "negative values"),
    (F + "binary_cross_entropy", lambda t: (x(t) * 2, x(t)), RuntimeError, "between 0 and 1"),
    (F + "binary_cross_entropy", lambda t: (half(t), t.ones(2, 3)), ValueError, "target size"),
    (F + "binary_cross_entropy_with_logits", lambda t: (x(t), t.ones(2, 3)), ValueError, "Target"),
    (F + "kl_div", lambda t: ((x(t), x(t)), {"reduction": "all"}), ValueError, "not a valid value"),
    (F + "margin_ranking_loss", lambda t: (x(t), x(t), t.ones(3)), RuntimeError, "same dimension"),
    (F + "cosine_embedding_loss", lambda t: (x(t), x(t), x(t)), RuntimeError, "target tensor"),
    (F + "triplet_margin_loss", lambda t: (x(t), x(t), x(t), 0.0), ValueError, "greater than 0"),
]
