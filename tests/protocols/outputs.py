"""What a run of a protocol gave, for comparisons."""
import numpy as np
from scipy import ndimage


def members(classes):
    """{class: (ids, transforms (n, 4, 4))} of a set of classes, read from its file as it is now."""
    classes = type(classes)(filename=classes.getFileName())
    return {one.getObjId(): ([item.getObjId() for item in one],
                             np.array([item.getTransform().getMatrix() for item in one]))
            for one in classes.iterItems()}


def assert_same_classes(one, other, atol=0.0):
    """The same members in the same order, with transforms that differ by ``atol`` at most."""
    one, other = members(one), members(other)
    assert one.keys() == other.keys()
    for key in one:
        assert one[key][0] == other[key][0]
        np.testing.assert_allclose(one[key][1], other[key][1], rtol=0, atol=atol)


def apply(matrix, image):
    """The image moved by a 2-D transform of Scipion about pixel N//2: the point r goes to M r + t."""
    linear, shift = matrix[:2, :2], matrix[:2, 3]
    inverse = np.linalg.inv(linear)
    rows = inverse[::-1, ::-1]                              # (x, y) -> (row, column)
    origin = np.full(2, image.shape[0] // 2)
    return ndimage.affine_transform(image, rows, origin - rows @ (origin + shift[::-1]), order=3)


def apply3d(matrix, volume):
    """The volume [z, y, x] moved by a transform of Scipion about voxel N//2: what is at p = (x, y, z) goes to M p."""
    inverse = np.linalg.inv(matrix)
    linear, offset = inverse[2::-1, 2::-1], inverse[2::-1, 3]
    origin = np.full(3, len(volume) // 2)
    return ndimage.affine_transform(volume, linear, origin + offset - linear @ origin)
