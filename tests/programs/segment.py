"""A small U-Net for segmentation: channels last, a plateau schedule, a checkpoint, worst pixels."""

# Written as users write: pyright is told less.
# pyright: reportPossiblyUnboundVariable=false, reportArgumentType=false, reportCallIssue=false

import io
from collections import OrderedDict

import numpy as np

import tgrad as torch
import tgrad.nn as nn
import tgrad.nn.functional as F
from tgrad.utils.data import DataLoader, Dataset

rng = np.random.default_rng(1)


class Squares(Dataset):
    def __init__(self, count, size=12):
        self.images = rng.random((count, 1, size, size)).astype("float32") * 0.5
        self.masks = np.zeros((count, size, size), dtype=np.int64)
        for image, mask, (y, x) in zip(
            self.images, self.masks, rng.integers(0, size - 4, (count, 2)), strict=True
        ):
            image[:, y : y + 4, x : x + 4] += 0.5
            mask[y : y + 4, x : x + 4] = 1

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"image": torch.from_numpy(self.images[index]), "mask": self.masks[index]}


def double(inside, out):
    layers = [
        ("conv1", nn.Conv2d(inside, out, 3, padding=1, bias=False)), ("norm", nn.GroupNorm(2, out)),
        ("act", nn.SiLU(inplace=True)), ("conv2", nn.Conv2d(out, out, kernel_size=3, padding=1)),
    ]  # fmt: skip
    return nn.Sequential(OrderedDict(layers))


class UNet(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.inside, self.down = double(1, width), double(width, 2 * width)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.out = nn.ModuleDict({"mix": double(3 * width, width), "head": nn.Conv2d(width, 2, 1)})

    def forward(self, x):
        a = self.inside(x)
        b = self.up(self.down(F.max_pool2d(a, 2)))
        dy, dx = a.size(2) - b.size(2), a.size(3) - b.size(3)
        b = F.pad(b, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.out["head"](self.out["mix"](torch.cat([a, b], dim=1)))


def dice(logits, mask):
    p, t = F.softmax(logits, dim=1).float(), F.one_hot(mask, 2).permute(0, 3, 1, 2).float()
    both, total = 2 * (p * t).sum(dim=(-1, -2)), p.sum(dim=(-1, -2)) + t.sum(dim=(-1, -2))
    return 1 - ((both + 1e-6) / (total + 1e-6)).mean()


def fill(model):
    for name, p in model.named_parameters():
        if p.dim() > 1:
            fan = p[0].numel()
            p.data.copy_(torch.from_numpy(rng.standard_normal(p.shape)).float() / fan**0.5)
        else:
            nn.init.constant_(p, 1.0 if name.endswith("norm.weight") else 0.0)


def main():
    model = UNet()
    fill(model)
    model = model.to("cpu", memory_format=torch.channels_last)
    print(model, list(model.state_dict())[-4:])
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decay, "weight_decay": 1e-2}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", 0.5, patience=0)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    loader = DataLoader(Squares(12), batch_size=4, shuffle=False, drop_last=True)
    found = []
    for epoch in range(3):
        total = 0.0
        for batch in loader:
            image = batch["image"].to("cpu", torch.float32, memory_format=torch.channels_last)
            logits = model(image)
            loss = F.cross_entropy(logits, batch["mask"]) + dice(logits, batch["mask"])
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_value_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
            total += loss.item() * len(image)
        scheduler.step(1.0 if epoch else 0.5)
        found += [total / len(loader.dataset), optimizer.param_groups[0]["lr"]]
        print(f"epoch {epoch}: {found[-2]:.3f}, lr {found[-1]:g}")
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    state, again = torch.load(file, map_location="cpu"), UNet()
    print(again.load_state_dict(state["model"]), optimizer)
    optimizer.load_state_dict(state["optimizer"])
    again.eval()
    with torch.no_grad():
        each = F.cross_entropy(again(image), batch["mask"], reduction="none")
        worst = each.flatten(1).topk(3, dim=1)
    print(worst.indices.dtype, each.shape, logits[0, 0, 0, 0].requires_grad)
    return found + worst.values.flatten().tolist()


if __name__ == "__main__":
    main()
