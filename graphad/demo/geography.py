"""Cities, great-circle distances between them, and a map projection to compare a recovered map with."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphad.errors import ArgumentError, describe

Array = NDArray[np.float64]

RADIUS = 6.371  # mean radius of the Earth in units of 1000 km


class City(NamedTuple):
    """A city; degrees north and east."""

    name: str
    country: str
    latitude: float
    longitude: float


def cities(count: int | None = None) -> list[City]:
    """The cities of `cities.csv` in alphabetical order, or `count` of them spread over the list.

    Raises `ArgumentError` where `count` is less than 4 or more than there are.

    >>> len(cities()) >= 64, [city.name for city in cities(4)]
    (True, ['Amsterdam', 'Dnipro', 'Marseille', 'Sarajevo'])
    """
    text = files("graphad.demo").joinpath("cities.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    everything = [City(r["name"], r["country"], float(r["latitude"]), float(r["longitude"])) for r in rows]
    if count is None:
        return everything
    if not 4 <= count <= len(everything):
        expected = f"4 to {len(everything)}"
        raise ArgumentError(describe("so many cities are not on file", expected=expected, got=str(count)))
    return [everything[i * len(everything) // count] for i in range(count)]


def coordinates(places: list[City]) -> Array:
    """Latitudes and longitudes in radians, shape (n, 2)."""
    return np.radians([[place.latitude, place.longitude] for place in places])


def great_circle_distances(points: Array) -> Array:
    """Distances on the sphere between all pairs, in 1000 km, by the haversine formula.

    Arguments:
        points: latitudes and longitudes in radians, float64 of shape (n, 2).

    Returns a symmetric float64 array of shape (n, n) with a zero diagonal.
    Reference: R. W. Sinnott, Virtues of the haversine, Sky and Telescope 68 (1984).

    >>> equator = np.radians([[0.0, 0.0], [0.0, 90.0]])
    >>> great_circle_distances(equator).round(3).tolist()
    [[0.0, 10.008], [10.008, 0.0]]
    """
    latitude, longitude = points[:, 0], points[:, 1]
    north = np.sin((latitude[:, None] - latitude[None, :]) / 2.0) ** 2
    east = np.sin((longitude[:, None] - longitude[None, :]) / 2.0) ** 2
    haversine = north + np.cos(latitude)[:, None] * np.cos(latitude)[None, :] * east
    return np.asarray(2.0 * RADIUS * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0))))


def azimuthal_equidistant(points: Array, centre: tuple[float, float] | None = None) -> Array:
    """A flat map about a centre: distances and directions from the centre are true.

    Arguments:
        points: latitudes and longitudes in radians, shape (n, 2).
        centre: latitude and longitude in radians; by default the centroid of the points.

    Returns positions in 1000 km, x to the east and y to the north, shape (n, 2).

    >>> azimuthal_equidistant(np.radians([[10.0, 0.0], [-10.0, 0.0]])).round(3).tolist()
    [[0.0, 1.112], [0.0, -1.112]]
    """
    latitude, longitude = points[:, 0], points[:, 1]
    centre_latitude, centre_longitude = centroid(points) if centre is None else centre
    turn = longitude - centre_longitude
    east = np.cos(latitude) * np.sin(turn)
    north = np.cos(centre_latitude) * np.sin(latitude) - np.sin(centre_latitude) * np.cos(latitude) * np.cos(turn)
    towards = np.sin(centre_latitude) * np.sin(latitude) + np.cos(centre_latitude) * np.cos(latitude) * np.cos(turn)
    angle = np.arctan2(np.hypot(east, north), towards)
    scale = RADIUS / np.sinc(angle / np.pi)
    return np.stack([scale * east, scale * north], axis=1)


def graticule(points: Array, step: float = 10.0) -> list[Array]:
    """The parallels and meridians around some points, every `step` degrees, on the same map as the points."""
    centre = centroid(points)
    low = np.floor(np.degrees(points.min(axis=0)) / step - 1.0) * step
    high = np.ceil(np.degrees(points.max(axis=0)) / step + 1.0) * step
    high[0] = min(high[0], 90.0)
    fine = np.linspace(0.0, 1.0, 121)
    lines = [
        np.stack([np.full(fine.shape, latitude), low[1] + fine * (high[1] - low[1])], axis=1)
        for latitude in np.arange(low[0], high[0] + 1.0, step)
    ]
    lines += [
        np.stack([low[0] + fine * (high[0] - low[0]), np.full(fine.shape, longitude)], axis=1)
        for longitude in np.arange(low[1], high[1] + 1.0, step)
    ]
    return [azimuthal_equidistant(np.radians(line), centre) for line in lines]


def centroid(points: Array) -> tuple[float, float]:
    """Latitude and longitude in radians of the mean of the points in space, projected back to the sphere."""
    latitude, longitude = points[:, 0], points[:, 1]
    x = float(np.mean(np.cos(latitude) * np.cos(longitude)))
    y = float(np.mean(np.cos(latitude) * np.sin(longitude)))
    z = float(np.mean(np.sin(latitude)))
    return float(np.arctan2(z, np.hypot(x, y))), float(np.arctan2(y, x))


def aligned(found: Array, wanted: Array) -> Array:
    """`found` moved, turned, mirrored and scaled so that it lies as near as possible to `wanted`.

    Distances know neither place nor direction, so a map made from them alone needs this before anyone can read it.

    Arguments:
        found, wanted: positions, shape (n, 2).

    Reference: P. H. Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 31 (1966).

    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> turned = 3.0 * square @ np.array([[0.0, 1.0], [1.0, 0.0]]) + 5.0
    >>> np.abs(aligned(turned, square) - square).max() < 1e-12
    np.True_
    """
    here, there = found - found.mean(axis=0), wanted - wanted.mean(axis=0)
    left, singular, right = np.linalg.svd(here.T @ there)
    scale = singular.sum() / (here**2).sum()
    return np.asarray(scale * here @ (left @ right) + wanted.mean(axis=0))
