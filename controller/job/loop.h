/* The loops: who runs what how often. */
#pragma once
#include "conf.h"
#include "db.h"

/* Runs every loop that is due and that this replica can claim; *found tells
 * whether any of them made work. */
bool loops_run(struct db *db, const struct conf *conf, bool *found,
    struct error *err);
