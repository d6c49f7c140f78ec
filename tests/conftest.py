# SPDX-License-Identifier: Apache-2.0
"""Lets `pytest tests` find lab/ from anywhere."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
