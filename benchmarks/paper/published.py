"""The paper's own figures (MICCAI 2024, tables 2 to 6), in per cent where it gives per cent."""

from __future__ import annotations

# Method -> Dice on REF, BTCV, STS; None where the paper has a dash.
TABLE_2: dict[str, tuple[float | None, float, float]] = {
    "U-Net": (80.1, 75.9, 85.4),
    "U-Net, ResNet50": (87.2, 90.5, 88.4),
    "Swin-UNETR": (None, 91.3, 88.3),
    "nnU-Net": (None, 91.4, 88.9),
    "TransU-Net": (85.6, 89.1, 88.1),
    "SwinU-Net": (84.3, 86.5, 85.8),
    "SDSeg": (89.4, 92.8, 89.4),
}
# Method -> (Dice, IoU) on CVC, KSEG, REF.
TABLE_3: dict[str, tuple[tuple[float, float] | None, ...]] = {
    "SSFormer": ((94.4, 89.9), (93.5, 89.0), None),
    "Li-SegPNet": ((92.5, 86.0), (90.5, 82.8), None),
    "Diff-Trans": ((95.4, 92.0), (94.6, 91.6), (88.7, 81.5)),
    "MedSegDiff-V1": (None, None, (86.3, 78.2)),
    "MedSegDiff-V2": (None, None, (85.9, 79.6)),
    "SDSeg": ((95.8, 92.6), (94.9, 92.1), (89.4, 81.8)),
}
# (method, training, samples/s, sampler, steps x samples, Dice), on BTCV.
TABLE_4 = (
    ("MedSegDiff-V1", "48 h, 4 x 16 GB", 0.30, "DPM-Solver", "50 x 25", 79.24),
    ("MedSegDiff-V2", "49 h, 4 x 16 GB", 0.31, "DPM-Solver", "50 x 25", 83.52),
    ("Diff-U-Net", "16 h, 4 x 24 GB", 0.87, "DDIM", "10 x 1", 91.89),
    ("SDSeg", "12 h, 1 x 16 GB", 2.01, "DDIM", "10 x 1", 92.09),
    ("SDSeg", "12 h, 1 x 16 GB", 8.36, "none", "1 x 1", 92.76),
)
# Method -> LPIPS, PSNR, SSIM, MS-SSIM, each of (masks, scores), on BTCV.
TABLE_5: dict[str, tuple[tuple[float, float], ...]] = {
    "MedSegDiff-V2": ((0.3139, 0.2904), (11.93, 14.45), (0.5780, 0.4662), (0.6399, 0.6228)),
    "Diff-U-Net": ((0.0633, 0.0672), (23.72, 24.67), (0.9668, 0.9666), (0.9442, 0.9397)),
    "SDSeg": ((0.0199, 0.0143), (27.63, 31.55), (0.9796, 0.9764), (0.9897, 0.9909)),
}
# In the order of `plan.ABLATION`: (words, (Dice, IoU) on BTCV, on REFUGE2).
TABLE_6 = (
    ("cross-attention, frozen encoder, no latent estimation", (32.67, 23.69), (28.31, 20.36)),
    ("+ concatenation", (80.31, 72.27), (76.79, 69.37)),
    ("+ trainable encoder", (91.89, 85.41), (88.79, 80.29)),
    ("+ latent estimation", (92.76, 85.49), (89.36, 81.68)),
)
