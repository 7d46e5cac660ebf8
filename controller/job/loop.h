/* The loops: who runs what how often.  Each has a number, and so a bit. */
#pragma once
#include "worker.h"

/* Those that run in each process and are due now; their next turn begins. */
uint32_t loops_due_here(const struct conf *conf);

struct loop_arrays { char names[600], seconds[200]; };

/* Names and intervals of those in which, as arrays of PostgreSQL by number from 1;
 * the others, and those that need no turn of the database, have the interval 0. */
void loops_arrays(const struct conf *conf, uint32_t which, struct loop_arrays *out);

/* "1,3" */
uint32_t loops_numbered(const char *numbers);

/* Runs those that this replica can claim; *found tells whether any of them made
 * work. */
bool loops_run(struct worker *w, uint32_t due, bool *found, struct error *err);
