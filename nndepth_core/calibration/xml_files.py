"""Reads the XML of cv2.FileStorage without OpenCV, which is not made for files of others."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from nndepth_core.camera import CalibrationError


def read_storage(name: str, text: str) -> dict[str, Any]:
    """Read names and values; a matrix becomes a mapping with its numbers in `data`.

    Raises:
        CalibrationError: the text is no such XML.
    """
    try:
        if '<!DOCTYPE' in text or '<!ENTITY' in text:
            raise CalibrationError(f'{name} is a web page, or XML with definitions of its own')
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise CalibrationError(f'{name} is no whole XML ({error})') from error
    if root.tag != 'opencv_storage':
        raise CalibrationError(
            f'{name} is XML, but <{root.tag}> instead of the <opencv_storage> of cv2.FileStorage'
        )
    found: dict[str, Any] = {}
    for element in root:
        if element.tag in found:
            raise CalibrationError(f'{name}: {element.tag} is given twice; keep the right one')
        data = element.find('data')
        found[element.tag] = (
            _value(element.text) if data is None else {'data': (data.text or '').split()}
        )
    return found


def _value(text: str | None) -> Any:
    """A number, a list of numbers as text, or the text without its quotes."""
    words = (text or '').split()
    if len(words) > 1:
        return words
    return words[0].strip('"') if words else ''
