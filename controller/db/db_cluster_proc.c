/*
 * What was left behind by a server that was killed.  certctld holds the lock of its
 * data directory, so no other certctld can be starting one.
 */
#include "db_cluster_proc.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROC_PATH_MAX  600
#define LOG_TAIL       8192

/* Bytes read of a file, with a NUL behind them; 0 when it cannot be read. */
static size_t
file_read(const char *path, off_t from, char *out, size_t size)
{
    int      fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t  n;

    out[0] = '\0';

    if (fd < 0) {
        return 0;
    }

    n = pread(fd, out, size - 1, from);
    close(fd);
    out[n > 0 ? n : 0] = '\0';

    return n > 0 ? (size_t) n : 0;
}

/* A process of PostgreSQL works in its data directory. */
static bool
proc_is_of(const char *pid, const struct stat *data)
{
    char         path[PROC_PATH_MAX], name[32];
    struct stat  cwd;

    snprintf(path, sizeof(path), "/proc/%s/cwd", pid);
    if (stat(path, &cwd) != 0 || cwd.st_dev != data->st_dev || cwd.st_ino != data->st_ino) {
        return false;
    }

    snprintf(path, sizeof(path), "/proc/%s/comm", pid);

    return file_read(path, 0, name, sizeof(name)) && strcmp(name, "postgres\n") == 0;
}

/* Its children have a title instead of arguments: "postgres: checkpointer". */
static bool
proc_is_server(const char *pid)
{
    char  path[PROC_PATH_MAX], arguments[1024];

    snprintf(path, sizeof(path), "/proc/%s/cmdline", pid);

    return file_read(path, 0, arguments, sizeof(arguments))
           && strncmp(arguments, "postgres: ", 10) != 0;
}

static pid_t
proc_id(const char *name)
{
    return (pid_t) strtol(name, NULL, 10);
}

pid_t
db_cluster_server(const char *data, int signo, int *orphans)
{
    struct stat     st;
    struct dirent  *entry;
    DIR            *proc = stat(data, &st) == 0 ? opendir("/proc") : NULL;
    pid_t           server = 0;

    *orphans = 0;

    while (proc && (entry = readdir(proc)) != NULL) {
        if (!isdigit((unsigned char) *entry->d_name) || !proc_is_of(entry->d_name, &st)) {
            continue;
        }

        if (proc_is_server(entry->d_name)) {
            server = proc_id(entry->d_name);
        } else {
            ++*orphans;
        }
    }

    if (proc && server == 0 && *orphans && signo) {
        rewinddir(proc);
        while ((entry = readdir(proc)) != NULL) {
            if (isdigit((unsigned char) *entry->d_name) && proc_is_of(entry->d_name, &st)) {
                kill(proc_id(entry->d_name), signo);
            }
        }
    }

    if (proc) {
        closedir(proc);
    }

    return server;
}

void
db_cluster_unlock(const char *data, const char *socket_dir)
{
    static const struct { bool socket; const char *name; } files[] = {
        { false, "postmaster.pid" }, { true, ".s.PGSQL.5432.lock" }, { true, ".s.PGSQL.5432" },
    };
    char  path[PROC_PATH_MAX];

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", files[i].socket ? socket_dir : data,
                 files[i].name);
        unlink(path);
    }
}

void
db_cluster_reason(const char *log, off_t from, char *out, size_t size)
{
    char         tail[LOG_TAIL + 1], *line, *next, *found;
    struct stat  st;

    out[0] = '\0';

    if (stat(log, &st) == 0 && st.st_size - from > LOG_TAIL) {
        from = st.st_size - LOG_TAIL;
    }

    file_read(log, from, tail, sizeof(tail));

    for (line = tail; line; line = next) {
        next = strchr(line, '\n');
        if (next) {
            *next++ = '\0';
        }

        found = strstr(line, "FATAL: ");
        found = found ? found : strstr(line, "PANIC: ");
        if (found) {
            snprintf(out, size, "%s", found + 7 + strspn(found + 7, " "));
        }
    }
}
