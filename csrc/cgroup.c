/* Limits that the kernel's control groups set on this process, v1 and v2.
 *
 * /proc/self/cgroup says in which group the process is, per hierarchy; /proc/self/mountinfo says
 * where a hierarchy is mounted and which group stands at the mount's root. A limit may sit on any
 * group between the two, so every directory on the way up is read and the tightest one counts. */
#define _GNU_SOURCE
#include "machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 4096 };

/* Reads one group's directory; gives its limit, or 0 for none. */
typedef double limit_reader(const char *directory, int version);

static int read_line(const char *directory, const char *name, char *line, size_t size) {
    char path[TEXT + 64];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path)
        return 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    int found = fgets(line, (int)size, file) != NULL;
    fclose(file);
    return found;
}

/* A positive number at the start of text (rest may be NULL); 0 for anything else: "max", -1, garbage. */
static double positive(const char *text, char **rest) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (rest)
        *rest = end;
    if (end == text || errno || value <= 0 || (*end && !strchr(" \t\n", *end)))
        return 0;
    return (double)value;
}

static double read_cpu(const char *directory, int version) {
    char line[256], period_line[256], *rest = NULL;
    double quota, period;
    if (version == 2) {
        if (!read_line(directory, "cpu.max", line, sizeof line))
            return 0;
        quota = positive(line, &rest);
        period = quota > 0 ? positive(rest, NULL) : 0;
    } else {
        if (!read_line(directory, "cpu.cfs_quota_us", line, sizeof line) ||
            !read_line(directory, "cpu.cfs_period_us", period_line, sizeof period_line))
            return 0;
        quota = positive(line, NULL);
        period = positive(period_line, NULL);
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

static double read_memory(const char *directory, int version) {
    char line[256];
    if (!read_line(directory, version == 2 ? "memory.max" : "memory.limit_in_bytes", line, sizeof line))
        return 0;
    double limit = positive(line, NULL);
    /* v1 writes "no limit" as the largest multiple of a page */
    return limit < 0x1p62 ? limit : 0;
}

/* mountinfo writes space, tab, newline and backslash as \ooo */
static void decode_octal(char *text) {
    char *out = text;
    while (*text) {
        if (text[0] == '\\' && strspn(text + 1, "01234567") >= 3) {
            *out++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
            text += 4;
        } else {
            *out++ = *text++;
        }
    }
    *out = 0;
}

static int list_has(const char *list, const char *word) {
    size_t length = strlen(word);
    while (list) {
        if (!strncmp(list, word, length) && (!list[length] || strchr(",\n", list[length])))
            return 1;
        list = strchr(list, ',');
        list = list ? list + 1 : NULL;
    }
    return 0;
}

/* The process's group in the hierarchy that holds `controller` (v1) or in the unified one (v2). */
static int find_group(const char *root, const char *controller, int version, char group[TEXT]) {
    char path[TEXT], *line = NULL;
    size_t room = 0;
    int found = 0;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (!found && getline(&line, &room, file) > 0) {
        char *names = strchr(line, ':'), *where = names ? strchr(names + 1, ':') : NULL;
        if (!where)
            continue;
        *where++ = 0;
        names++;
        where[strcspn(where, "\n")] = 0;
        int fits = version == 2 ? !*names && !strncmp(line, "0:", 2) : list_has(names, controller);
        if (fits && strlen(where) < TEXT) {
            strcpy(group, where);
            found = 1;
        }
    }
    free(line);
    fclose(file);
    return found;
}

/* The part of `group` below the mount's root group; NULL when the group lies outside of it
 * (as in a container that sees its host's path), where only the mount's own root can be read. */
static const char *below_mount(const char *group, const char *mount_root) {
    size_t length = strlen(mount_root);
    if (strstr(group, "/.."))
        return NULL;
    if (length == 1)
        length = 0;
    if (strncmp(group, mount_root, length) || (group[length] && group[length] != '/'))
        return NULL;
    return group + length;
}

static double tighter(double a, double b) { return a > 0 && (b <= 0 || a < b) ? a : b; }

/* Every directory from mount_point + below up to mount_point. */
static double limit_upwards(const char *root, const char *mount_point, const char *below, int version,
                            limit_reader *read_limit) {
    char directory[TEXT];
    double limit = 0;
    size_t top = strlen(root) + strlen(mount_point);
    if ((size_t)snprintf(directory, sizeof directory, "%s%s%s", root, mount_point, below) >= sizeof directory)
        return 0;
    for (;;) {
        limit = tighter(read_limit(directory, version), limit);
        char *slash = strrchr(directory, '/');
        if (!slash || strlen(directory) <= top)
            return limit;
        *slash = 0;
    }
}

/* "id parent major:minor ROOT MOUNT options ... - TYPE source SUPER": 1 when it mounts the hierarchy. */
static int parse_mount(char *line, const char *controller, int version, char **mount_root,
                       char **mount_point) {
    char *field[5], *tail = strstr(line, " - "), *save = NULL;
    if (!tail)
        return 0;
    *tail = 0;
    for (int i = 0; i < 5; i++)
        if (!(field[i] = strtok_r(i ? NULL : line, " ", &save)))
            return 0;
    char *type = strtok_r(tail + 3, " ", &save), *source = strtok_r(NULL, " ", &save);
    char *super = strtok_r(NULL, " ", &save);
    if (!type || !source || !super || strcmp(type, version == 2 ? "cgroup2" : "cgroup"))
        return 0;
    if (version == 1 && !list_has(super, controller))
        return 0;
    decode_octal(*mount_root = field[3]);
    decode_octal(*mount_point = field[4]);
    return 1;
}

static double limit_of_version(const char *root, const char *controller, int version,
                               limit_reader *read_limit) {
    char group[TEXT], path[TEXT], *line = NULL, *mount_root, *mount_point;
    size_t room = 0;
    double inside = 0, outside = 0;
    int matched = 0;
    if (!find_group(root, controller, version, group))
        return 0;
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (getline(&line, &room, file) > 0) {
        if (!parse_mount(line, controller, version, &mount_root, &mount_point))
            continue;
        const char *below = below_mount(group, mount_root);
        double limit = limit_upwards(root, mount_point, below ? below : "", version, read_limit);
        if (below) {
            matched = 1;
            inside = tighter(limit, inside);
        } else {
            outside = tighter(limit, outside);
        }
    }
    free(line);
    fclose(file);
    return matched ? inside : outside;
}

double pe_cgroup_cpu_quota(const char *root) {
    return tighter(limit_of_version(root, "cpu", 1, read_cpu), limit_of_version(root, "cpu", 2, read_cpu));
}

uint64_t pe_cgroup_memory_limit(const char *root) {
    return (uint64_t)tighter(limit_of_version(root, "memory", 1, read_memory),
                             limit_of_version(root, "memory", 2, read_memory));
}
