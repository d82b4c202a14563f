"""Denoisers of images, one a file; the file's name is the denoiser's."""
