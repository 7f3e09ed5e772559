#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# memif.sh with two workers on each engine: one queue, so that half of all is handed over on both ways.
export ENGINE_WORKERS=2
. "$(dirname "$0")/memif.sh"
