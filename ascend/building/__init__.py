"""What authors of image builders build with: locks, names of images, registries, and Jobs that build."""
