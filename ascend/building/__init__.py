"""What authors of image builders build with: locks, names of images, registries, and Jobs that build."""

__all__: list[str] = []
