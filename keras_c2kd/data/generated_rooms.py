"""Rooms that are drawn at random and seen in colour and in depth."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Draws a number between two for each room.
Draw = Callable[[float, float], NDArray[Any]]

# What a pixel shows; the labels of the classes.
WALL, FLOOR, RED, BLUE, BOX, BALL, COLUMN, CONE = KINDS = range(8)

FARTHEST = 10.0
_PRESENT = 0.75  # Fraction of the rooms in which a thing stands.


def draw_rooms(generators: Sequence[np.random.Generator]) -> dict[str, Any]:
    """Draw what stands where in some rooms, and how it looks.

    Hidden things are lower than the camera and posters hang higher than it,
    so that the one never stands before the other.

    Args:
        generators: List of numpy generators, one a room.

    Returns:
        Dict of what `render_rooms` needs, in metres and radians. Arrays have
        the shape `(rooms, 1, 1)`, the `palette` `(rooms, kinds, 3)`.
    """
    uniform = np.stack([g.random(100, "float32") for g in generators])
    columns = iter(uniform.T[:, :, None, None])

    def draw(low: float, high: float) -> NDArray[Any]:
        return low + (high - low) * next(columns)

    # Four things in five parts of the view, not all of them there: where
    # nothing is seen, nothing is likelier than something hidden.
    positions = np.argsort([draw(0, 1) for _ in range(5)], axis=0)
    things = {}
    for position, (kind, radius, height) in zip(
        positions.astype("float32"),
        (
            (BOX, (0.25, 0.42), (0.45, 0.95)),
            (BALL, (0.27, 0.45), (0, 0)),
            (COLUMN, (0.12, 0.2), (1.0, 1.7)),
            (CONE, (0.25, 0.4), (0.5, 0.9)),
        ),
    ):
        things[kind] = {
            # Fractions of half the view's width, and of the way to the wall.
            "aside": 0.4 * (position - 2) + draw(-0.1, 0.1),
            "ahead": draw(0.5, 0.8),
            "present": draw(0, 1) < _PRESENT,
            "radius": draw(*radius),
            "height": draw(*height),
            "turn": draw(-0.7, 0.7),
        }
    return {
        "camera_height": draw(1.15, 1.4),
        "camera_pitch": draw(0.14, 0.26),
        "wall_distance": draw(3.6, 5.0),
        "wall_turn": draw(-0.35, 0.35),
        "lamp": (draw(-1.5, 1.5), 2.6, draw(0.3, 2.2)),
        "palette": _draw_palette(draw),
        "posters": _draw_posters(draw),
        "things": things,
    }


def _draw_palette(draw: Draw) -> NDArray[Any]:
    """Draw the colours under the room's light."""
    wall, floor = draw(0.5, 0.75), draw(0.25, 0.45)
    colours = {
        WALL: (wall, wall, wall),
        FLOOR: (1.1 * floor, floor, 0.9 * floor),
        RED: (0.75, 0.2, 0.18),
        BLUE: (0.18, 0.28, 0.75),
        COLUMN: (0.2, 0.58, 0.25),
        CONE: (0.85, 0.65, 0.15),
    }
    exposure = draw(0.85, 1.25)
    light = [exposure * draw(0.95, 1.05) for _ in range(3)]
    palette = np.zeros((len(exposure), len(KINDS), 3), "float32")
    for kind, colour in colours.items():
        for channel, value in enumerate(colour):
            value = (value + draw(-0.06, 0.06)) * light[channel]
            palette[:, kind, channel] = value[:, 0, 0]
    return palette


def _draw_posters(draw: Draw) -> list[dict[str, NDArray[Any]]]:
    """Hang up to three posters beside one another.

    A position is as often empty as not: where posters hang is of no use to a
    network that cannot see them.
    """
    posters = []
    for position in (-0.62, 0.0, 0.62):
        colour = np.where(draw(0, 1) < 0.5, RED, BLUE)
        posters.append(
            {
                "kind": np.where(draw(0, 1) < 0.5, colour, WALL),
                "aside": position + draw(-0.1, 0.1),
                "half_width": draw(0.3, 0.5),
                "bottom": draw(1.5, 1.8),
                "height": draw(0.5, 0.9),
            }
        )
    return posters


def render_rooms(
    rooms: dict[str, Any],
    size: tuple[int, int],
    generators: Sequence[np.random.Generator],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Look at rooms with a camera and a depth sensor in one position.

    Args:
        rooms: As `draw_rooms` returns them.
        size: Height and width in pixels. The view is 60 degrees high.
        generators: List of numpy generators, one a room, for the noise.

    Returns:
        Three arrays: colour, uint8 `(rooms, height, width, 3)`; depth along
        the camera's axis in metres, float32 `(rooms, height, width)`, 0 where
        it was not measured; kinds, uint8 of the same shape.
    """
    # Directions that miss a surface give infinite or undefined depths.
    with np.errstate(divide="ignore", invalid="ignore"):
        view = _View(rooms, size)
        view.see_room()
        view.see_posters()
        view.see_column()
        view.see_cone()
        # What comes later changes the depth, and leaves the colour.
        colour = view.shade()
        view.see_box()
        view.see_ball()
    for room, random in enumerate(generators):
        noise = random.standard_normal((*size, 4), "float32")
        colour[room] += 0.02 * noise[..., :3]
        # A sensor of structured light errs by the square of the distance.
        view.depth[room] *= 1 + 0.002 * view.depth[room] * noise[..., 3]
        view.depth[room] *= random.random(size, "float32") > 0.01
    colour = np.clip(255 * colour + 0.5, 0, 255).astype("uint8")
    return colour, view.depth, view.kind


class _View:
    """The nearest surface in the direction of each pixel.

    The camera is above the origin; x goes to the right, y up from the floor,
    z ahead. Directions have length 1 along the camera's axis, so that the way
    along a direction is the depth.
    """

    def __init__(self, rooms: dict[str, Any], size: tuple[int, int]) -> None:
        self.rooms = rooms
        height, width = size
        focal_length = height * np.float32(np.sqrt(0.75))
        self.half_view = 0.5 * width / focal_length
        right = np.arange(width, dtype="float32") + 0.5 * (1 - width)
        down = np.arange(height, dtype="float32") + 0.5 * (1 - height)
        up = -down[:, None] / focal_length
        sine, cosine = (f(rooms["camera_pitch"]) for f in (np.sin, np.cos))
        shape = (len(cosine), height, width)
        self.direction = [
            np.broadcast_to(part, shape)
            for part in (
                right / focal_length,
                cosine * up - sine,
                sine * up + cosine,
            )
        ]
        self.depth = np.full(shape, FARTHEST, "float32")
        self.kind = np.full(shape, WALL, "uint8")
        self.pattern = np.ones(shape, "float32")
        self.normal = [np.zeros(shape, "float32") for _ in "xyz"]

    def point(
        self, depth: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return where the directions are at a depth, as x, y, z."""
        x, y, z = self.direction
        return depth * x, self.rooms["camera_height"] + depth * y, depth * z

    def cover(
        self,
        kind: int,
        depth: NDArray[Any],
        exists: NDArray[Any] | bool,
        pattern: NDArray[Any] | float = 1.0,
        normal: Sequence[NDArray[Any] | float] = (0, 0, 0),
    ) -> None:
        """Show a surface where it exists and is nearer than what is shown."""
        seen = exists & (depth > 0) & (depth < self.depth)
        layers = (self.depth, self.kind, self.pattern, *self.normal)
        for layer, value in zip(layers, (depth, kind, pattern, *normal)):
            np.copyto(layer, value, where=seen, casting="unsafe")

    def see_room(self) -> None:
        """Show the wall, which may be turned, and the floor."""
        x, y, z = self.direction
        sine, cosine = (f(self.rooms["wall_turn"]) for f in (np.sin, np.cos))
        depth = self.rooms["wall_distance"] * cosine / (x * sine + z * cosine)
        along = self.along_wall(self.point(depth))
        pattern = 1 + 0.05 * np.sign(np.sin(along * (2 * np.pi / 0.4)))
        self.cover(WALL, depth, True, pattern, (-sine, 0, -cosine))
        depth = -self.rooms["camera_height"] / y
        x, _, z = self.point(depth)
        odd = (np.floor(x / 0.5) + np.floor(z / 0.5)) % 2
        self.cover(FLOOR, depth, True, 0.9 + 0.2 * odd, (0, 1, 0))

    def along_wall(self, point: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return how far to the right of its middle the wall's points are."""
        turn, distance = self.rooms["wall_turn"], self.rooms["wall_distance"]
        return point[0] * np.cos(turn) - (point[2] - distance) * np.sin(turn)

    def see_posters(self) -> None:
        """Paint the wall where posters are; they have no thickness."""
        point = self.point(self.depth)
        along = self.along_wall(point)
        wall = self.kind == WALL
        for poster in self.rooms["posters"]:
            half = self.half_view * self.rooms["wall_distance"]
            across = np.abs(along - poster["aside"] * half)
            up = (point[1] - poster["bottom"]) / poster["height"]
            seen = wall & (across < poster["half_width"]) & (0 < up) & (up < 1)
            seen &= poster["kind"] != WALL
            bars = 1 + 0.12 * np.sign(np.sin(up * (6 * np.pi)))
            np.copyto(self.kind, poster["kind"], where=seen, casting="unsafe")
            np.copyto(self.pattern, bars, where=seen, casting="unsafe")

    def position(
        self, thing: dict[str, NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return x and z of the middle of a thing on the floor."""
        turn = self.rooms["wall_turn"]
        slope = thing["aside"] * self.half_view
        # Along a slope, how far ahead the wall is.
        wall = self.rooms["wall_distance"] / (slope * np.tan(turn) + 1)
        ahead = thing["ahead"] * wall
        return slope * ahead, ahead

    def see_column(self) -> None:
        """Show an upright cylinder."""
        thing = self.rooms["things"][COLUMN]
        middle_x, middle_z = self.position(thing)
        x, y, z = self.direction
        a = x**2 + z**2
        b = x * middle_x + z * middle_z
        c = middle_x**2 + middle_z**2 - thing["radius"] ** 2
        depth = (b - np.sqrt(b**2 - a * c)) / a
        point = self.point(depth)
        exists = (
            thing["present"] & (point[1] > 0) & (point[1] < thing["height"])
        )
        normal = [
            (position - middle) / thing["radius"]
            for position, middle in ((point[0], middle_x), (point[2], middle_z))
        ]
        self.cover(
            COLUMN,
            depth,
            exists,
            _rings(point[1], 0.3),
            (normal[0], 0, normal[1]),
        )
        depth = (thing["height"] - self.rooms["camera_height"]) / y
        x, _, z = self.point(depth)
        on_top = np.hypot(x - middle_x, z - middle_z) < thing["radius"]
        self.cover(COLUMN, depth, thing["present"] & on_top, 1.0, (0, 1, 0))

    def see_cone(self) -> None:
        """Show an upright cone."""
        thing = self.rooms["things"][CONE]
        middle_x, middle_z = self.position(thing)
        x, y, z = self.direction
        steepness = thing["radius"] / thing["height"]
        above = thing["height"] - self.rooms["camera_height"]
        a = x**2 + z**2 - (steepness * y) ** 2
        b = x * middle_x + z * middle_z - steepness**2 * above * y
        c = middle_x**2 + middle_z**2 - (steepness * above) ** 2
        root = np.sqrt(b**2 - a * c)
        # The nearer position may be on the other cone, above the tip.
        for depth in ((b - root) / a, (b + root) / a):
            point = self.point(depth)
            radius = steepness * (thing["height"] - point[1])
            exists = thing["present"] & (point[1] > 0) & (radius > 0)
            length = np.sqrt(1 + steepness**2)
            normal = (
                (point[0] - middle_x) / (radius * length),
                steepness / length,
                (point[2] - middle_z) / (radius * length),
            )
            rings = _rings(point[1], 0.25)
            self.cover(CONE, depth, exists, rings, normal)

    def see_box(self) -> None:
        """Put a box before what is seen, turned on its foot."""
        thing = self.rooms["things"][BOX]
        middle_x, middle_z = self.position(thing)
        sine, cosine = np.sin(thing["turn"]), np.cos(thing["turn"])
        x, y, z = self.direction
        sides = (
            (
                cosine * x + sine * z,
                cosine * middle_x + sine * middle_z,
                thing["radius"],
            ),
            (
                cosine * z - sine * x,
                cosine * middle_z - sine * middle_x,
                0.8 * thing["radius"],
            ),
            (
                y,
                0.5 * thing["height"] - self.rooms["camera_height"],
                0.5 * thing["height"],
            ),
        )
        entry, leave = 0.0, np.inf
        for direction, middle, half in sides:
            ends = (middle - half) / direction, (middle + half) / direction
            entry = np.maximum(entry, np.minimum(*ends))
            leave = np.minimum(leave, np.maximum(*ends))
        self.cover(BOX, np.asarray(entry), thing["present"] & (entry < leave))

    def see_ball(self) -> None:
        """Put a ball before what is seen."""
        thing = self.rooms["things"][BALL]
        middle_x, middle_z = self.position(thing)
        x, y, z = self.direction
        middle_y = thing["radius"] - self.rooms["camera_height"]
        a = x**2 + y**2 + z**2
        b = x * middle_x + y * middle_y + z * middle_z
        c = middle_x**2 + middle_y**2 + middle_z**2 - thing["radius"] ** 2
        depth = (b - np.sqrt(b**2 - a * c)) / a
        self.cover(BALL, depth, thing["present"])

    def shade(self) -> NDArray[Any]:
        """Return the colour of what is seen, lit by the room's lamp."""
        ways = [
            lamp - position
            for lamp, position in zip(
                self.rooms["lamp"], self.point(self.depth)
            )
        ]
        square = sum(way**2 for way in ways)
        facing = sum(way * part for way, part in zip(ways, self.normal))
        lit = np.maximum(facing, 0) / np.sqrt(square) / (1 + square / 12)
        rooms = np.arange(len(self.kind))[:, None, None]
        colour = self.rooms["palette"][rooms, self.kind]
        return colour * (self.pattern * (0.55 + 0.8 * lit))[..., None]


def _rings(height: NDArray[Any], distance: float) -> NDArray[Any]:
    """Return lighter and darker rings at equal distances."""
    return 1 + 0.15 * np.sign(np.sin(height * (2 * np.pi / distance)))
