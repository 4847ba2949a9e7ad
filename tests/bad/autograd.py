"""Bad input to autograd and to what every op shares."""


def leaf(lib, *shape):
    return lib.ones(*shape).requires_grad_()


def freed(lib):
    y = (leaf(lib, 2) * leaf(lib, 2)).sum()
    y.backward()
    return (y,)


def overwritten(lib):
    h = leaf(lib, 2) * 1
    y = (h * h).sum()
    h.add_(1)
    return (y,)


BAD = [
    ("Tensor.backward", lambda t: (leaf(t, 2) * 2,), RuntimeError, "only for scalar outputs"),
    ("Tensor.backward", lambda t: (t.ones(()),), RuntimeError, "does not require grad"),
    ("Tensor.backward", freed, RuntimeError, "second time"),
    ("Tensor.backward", overwritten, RuntimeError, "modified by an inplace operation"),
    ("Tensor.backward", lambda t: (leaf(t, 2) * 2, t.ones(3)), RuntimeError, "Mismatch in shape"),
    ("autograd.grad", lambda t: (leaf(t, 2).sum(), t.ones(2)), RuntimeError, "not require grad"),
    ("autograd.grad", lambda t: (leaf(t, 2).sum(), leaf(t, 2)), RuntimeError, "not have been used"),
    ("autograd.grad", lambda t: ((leaf(t, 2) * 1), leaf(t, 2)), RuntimeError, "scalar outputs"),
    ("Tensor.add_", lambda t: (leaf(t, 2), 1), RuntimeError, "leaf Variable that requires grad"),
    ("Tensor.zero_", lambda t: (leaf(t, 2)[0:1],), RuntimeError, "view of a leaf Variable"),
    ("Tensor.requires_grad_", lambda t: (t.ones(2, dtype=t.int64),), RuntimeError, "floating"),
    ("Tensor.requires_grad_", lambda t: (leaf(t, 2) * 2, False), RuntimeError, "leaf variables"),
    ("Tensor.register_hook", lambda t: (t.ones(2), print), RuntimeError, "require gradient"),
    ("Tensor.numpy", lambda t: (leaf(t, 2),), RuntimeError, "requires grad"),
    ("Tensor.add_", lambda t: (t.ones(1).expand(3), 1), RuntimeError, "single memory location"),
    ("Tensor.add_", lambda t: (t.ones(2), t.ones(3, 2)), RuntimeError, "broadcast shape"),
    ("Tensor.mul_", lambda t: (t.ones(2, dtype=t.int64), 0.5), RuntimeError, "can't be cast"),
    ("add", lambda t: (t.ones(2), t.ones(3)), RuntimeError, "must match the size of tensor b (3)"),
    ("add", lambda t: (t.ones(2), "x"), TypeError, "must be Tensor"),
    ("exp", lambda t: ((t.ones(2),), {"base": 2}), TypeError, "base"),
    ("exp", lambda t: ("x",), TypeError, "Tensor"),
    ("add", lambda t: ((t.ones(2), t.ones(2)), {"out": leaf(t, 2)}), RuntimeError,
     "automatic differentiation"),
    ("add", lambda t: ((t.ones(2), t.ones(2)), {"out": t.ones(2, dtype=t.int64)}), RuntimeError,
     "can't be cast"),
    ("add", lambda t: (t.ones(2, device="cuda"), t.ones(2)), RuntimeError, "same device"),
    ("Tensor.to", lambda t: (t.ones(2), "tpu"), RuntimeError, "device"),
    ("device", lambda t: ("cuda:x",), RuntimeError, "Invalid device string"),
    ("set_default_dtype", lambda t: (t.int64,), TypeError, "floating"),
    ("finfo", lambda t: (t.int64,), TypeError, "floating"),
    ("iinfo", lambda t: (t.float32,), TypeError, "int"),
]  # fmt: skip
