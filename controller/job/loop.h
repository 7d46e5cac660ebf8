/* The loops: who runs what how often. */
#pragma once
#include "worker.h"

/* Runs every loop that is due and that this replica can claim; *found tells
 * whether any of them made work. */
bool loops_run(struct worker *w, bool *found, struct error *err);
