"""Drawn people before drawn cameras, with their truth."""
from .camera import Camera
from .frame import Frame
from .scene import Scene, make_scene
__all__ = ["Camera", "Frame", "Scene", "make_scene"]
