"""Data sets, augmentation and procedural scenes."""
