/* Processes and lock files that a private PostgreSQL has left in its directory. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

/*
 * The server that runs on the cluster in data, or 0; its process id in the lock
 * file says less, since the file may be damaged, or of another boot.  *orphans
 * becomes the number of processes whose server is gone: each gets signo, unless
 * that is 0.
 */
pid_t db_cluster_server(const char *data, int signo, int *orphans);

/* Deletes the lock files in data and in the socket's directory.  PostgreSQL itself
 * notices processes that still use its shared memory. */
void db_cluster_unlock(const char *data, const char *socket_dir);

/* What the last line with "FATAL" or "PANIC" says that was written behind the
 * offset, or "". */
void db_cluster_reason(const char *log, off_t from, char *out, size_t size);
