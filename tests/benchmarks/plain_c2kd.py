"""C2KD as one writes it by hand in PyTorch: what `plain_torch.py` measures.

Two ResNet-18 as `torch.nn` modules, a proxy on the third stage of each, Kendall
row by row with SciPy, one SGD over everything: the structure of the authors'
public code. Nothing here knows of Keras.
"""

import numpy as np
import scipy.stats
import torch
from torch import nn
from torch.nn import functional


def normalized_convolution(inputs, outputs, kernel, stride=1):
    """A convolution without bias and a batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, bias=False
        ),
        nn.BatchNorm2d(outputs),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = normalized_convolution(inputs, outputs, 3, stride)
        self.second = normalized_convolution(outputs, outputs, 3)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = normalized_convolution(inputs, outputs, 1, stride)

    def forward(self, maps):
        """Return maps with `outputs` channels."""
        inner = functional.relu(self.first(maps))
        return functional.relu(self.second(inner) + self.shortcut(maps))


class PlainResNet(nn.Module):
    """ResNet of basic blocks; returns its logits and the maps of a stage."""

    def __init__(self, channels, num_classes, widths, blocks, tapped):
        super().__init__()
        self.tapped = tapped
        self.stem = normalized_convolution(channels, 64, 7, 2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        before = 64
        for number, (width, count) in enumerate(zip(widths, blocks)):
            layers = []
            for index in range(count):
                stride = 2 if number > 0 and index == 0 else 1
                layers.append(BasicBlock(before, width, stride))
                before = width
            self.stages.append(nn.Sequential(*layers))
        self.classifier = nn.Linear(before, num_classes)

    def forward(self, images):
        """Return logits, and the maps behind the first `tapped` stages."""
        maps = self.pool(functional.relu(self.stem(images)))
        tapped = maps
        for number, stage in enumerate(self.stages, start=1):
            maps = stage(maps)
            if number == self.tapped:
                tapped = maps
        return self.classifier(maps.mean((2, 3))), tapped


class PlainProxy(nn.Module):
    """Pooling, 1x1 convolution, normalisation, LeakyReLU, classifier."""

    def __init__(self, channels, num_classes):
        super().__init__()
        self.adaptation = normalized_convolution(channels, channels, 1)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, maps):
        """Return the proxy's logits."""
        vector = self.adaptation(functional.adaptive_avg_pool2d(maps, 1))
        return self.classifier(functional.leaky_relu(vector, 0.1).flatten(1))


def kendall_by_row(first, second):
    """Kendall's rank correlation of each row, by SciPy."""
    rows = zip(first.detach().cpu().numpy(), second.detach().cpu().numpy())
    found = [
        scipy.stats.kendalltau(one, other).statistic for one, other in rows
    ]
    return torch.tensor(np.nan_to_num(found), device=first.device)


def divergence(target, learner):
    """KL divergence of each row, "learner <- target"."""
    return functional.kl_div(
        functional.log_softmax(learner, -1),
        functional.log_softmax(target.detach(), -1),
        reduction="none",
        log_target=True,
    ).sum(-1)


def without_target(logits, labels):
    """The logits of all classes but the label's."""
    rest = torch.ones_like(logits, dtype=torch.bool)
    rest[torch.arange(len(labels)), labels] = False
    return logits[rest].reshape(len(labels), -1)


def loss_terms(logits, labels):
    """Return the five terms of the loss by name.

    Args:
        logits: Dict of the four logits: `student`, `teacher`,
            `student_proxy`, `teacher_proxy`.
        labels: Integer tensor.
    """
    logits = {name: value.float() for name, value in logits.items()}
    student, teacher = logits["student"], logits["teacher"]
    student_proxy = logits["student_proxy"]
    teacher_proxy = logits["teacher_proxy"]
    selected = (kendall_by_row(teacher_proxy, student_proxy) > 0).float()
    student_rest = without_target(student_proxy, labels)
    teacher_rest = without_target(teacher_proxy, labels)
    cross_modal = divergence(teacher_rest, student_rest)
    cross_modal = cross_modal + divergence(student_rest, teacher_rest)
    student_terms = divergence(student_proxy, student)
    student_terms = student_terms + divergence(student, student_proxy)
    teacher_terms = divergence(teacher_proxy, teacher)
    teacher_terms = teacher_terms + divergence(teacher, teacher_proxy)
    return {
        "student_supervised": functional.cross_entropy(student, labels),
        "teacher_supervised": functional.cross_entropy(teacher, labels),
        "student_proxy": student_terms.mean(),
        "teacher_proxy": teacher_terms.mean(),
        "cross_modal": (selected * cross_modal).mean(),
    }


class PlainPair(nn.Module):
    """Student, teacher and their proxies, with one optimizer over all.

    Args:
        networks: Dict of `student` and `teacher`, `PlainResNet`.
        width: Integer, channels of the maps that the proxies read.
        num_classes: Integer.
        device: Where it runs.
        half: Whether it runs in bfloat16 by autocast.
    """

    def __init__(self, networks, width, num_classes, device, half=False):
        super().__init__()
        self.student, self.teacher = networks["student"], networks["teacher"]
        self.student_proxy = PlainProxy(width, num_classes)
        self.teacher_proxy = PlainProxy(width, num_classes)
        self.to(device)
        self.device, self.half = device, half
        self.optimizer = torch.optim.SGD(
            self.parameters(), lr=1e-3, momentum=0.9
        )

    def forward(self, student_input, teacher_input):
        """Return the four logits by name."""
        student, student_maps = self.student(student_input)
        teacher, teacher_maps = self.teacher(teacher_input)
        return {
            "student": student,
            "teacher": teacher,
            "student_proxy": self.student_proxy(student_maps),
            "teacher_proxy": self.teacher_proxy(teacher_maps),
        }

    def step(self, student_input, teacher_input, labels):
        """Train on one batch of host arrays; return the terms and accuracies.

        Args:
            student_input: Float array, channels first.
            teacher_input: The same.
            labels: Integer array.
        """
        student_input, teacher_input, labels = (
            torch.from_numpy(array).to(self.device)
            for array in (student_input, teacher_input, labels)
        )
        self.optimizer.zero_grad()
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            logits = self(student_input, teacher_input)
        terms = loss_terms(logits, labels)
        sum(terms.values()).backward()
        self.optimizer.step()
        logged = {name: term.item() for name, term in terms.items()}
        for role in ("student", "teacher"):
            hits = logits[role].argmax(-1) == labels
            logged[f"{role}_accuracy"] = hits.float().mean().item()
        return logged
