/* Claims one job, runs it by its row of the job table, and records the outcome. */
#pragma once
#include "worker.h"

/* *claimed is false when nothing is due.  False when the database is away. */
bool queue_run_next(struct worker *w, bool *claimed, struct error *err);
