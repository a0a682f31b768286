/* Reads the state file whenever it changed; meaning is left to the functions of NVML. */
#define _GNU_SOURCE
#include "state.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

struct line { int who; char *key, *value; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct line *lines;
static size_t line_count;
static char *text;
static struct stat read_at;
bool initialised;
struct device devices[MAX_GPUS];

static bool unchanged(const struct stat *now)
{
    return now->st_ino == read_at.st_ino && now->st_size == read_at.st_size &&
           now->st_mtim.tv_sec == read_at.st_mtim.tv_sec &&
           now->st_mtim.tv_nsec == read_at.st_mtim.tv_nsec;
}

static void parse(void)
{
    size_t room = 0;
    line_count = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *who = strsep(&line, " "), *key = strsep(&line, " ");
        if (!key || who[0] == '#')
            continue;
        if (line_count == room)
            lines = realloc(lines, (room = room ? 2 * room : 256) * sizeof *lines);
        lines[line_count++] = (struct line){
            .who = !strcmp(who, "system") ? SYSTEM : !strcmp(who, "all") ? ALL : atoi(who),
            .key = key,
            .value = line ? line : "",
        };
    }
}

/* Read the file again if it changed; the caller holds the lock. */
static bool refresh(void)
{
    const char *path = getenv("IRONLEASE_NVML_STATE");
    struct stat now;
    if (!path || stat(path, &now))
        return false;
    if (unchanged(&now))
        return true;
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    fstat(fileno(file), &now);
    text = realloc(text, now.st_size + 1);
    text[fread(text, 1, now.st_size, file)] = 0;
    fclose(file);
    read_at = now;
    parse();
    return true;
}

static const char *find(int who, const char *key)
{
    for (int scope = who;; scope = ALL) {
        for (size_t i = line_count; i-- > 0;)
            if (lines[i].who == scope && !strcmp(lines[i].key, key))
                return lines[i].value;
        if (scope < 0)
            return NULL;
    }
}

bool get_text(int who, const char *key, char *out, unsigned size)
{
    pthread_mutex_lock(&lock);
    const char *value = find(who, key);
    if (value)
        snprintf(out, size, "%s", value);
    pthread_mutex_unlock(&lock);
    return value != NULL;
}

bool get(int who, const char *key, long long *out)
{
    char value[64];
    if (!get_text(who, key, value, sizeof value))
        return false;
    *out = strtoll(value, NULL, 0);
    return true;
}

nvmlReturn_t get_unsigned(int who, const char *key, unsigned *out)
{
    long long value;
    if (!get(who, key, &value))
        return NOT_SUPPORTED;
    *out = value;
    return SUCCESS;
}

nvmlReturn_t copy_text(int who, const char *key, char *out, unsigned size)
{
    char value[256];
    if (!get_text(who, key, value, sizeof value))
        return NOT_SUPPORTED;
    if (strlen(value) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(out, value);
    return SUCCESS;
}

void each(const char *key, void (*visit)(int who, const char *value, void *context), void *context)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < line_count; i++)
        if (!strcmp(lines[i].key, key))
            visit(lines[i].who, lines[i].value, context);
    pthread_mutex_unlock(&lock);
}

void sleep_ms(long long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

nvmlReturn_t enter(const char *function, int who)
{
    char key[96];
    long long value;
    pthread_mutex_lock(&lock);
    bool there = refresh();
    pthread_mutex_unlock(&lock);
    if (!there)
        return DRIVER_NOT_LOADED;
    snprintf(key, sizeof key, "delay_ms.%s", function);
    if (get(who, key, &value))
        sleep_ms(value);
    if (who >= 0 && get(who, "lost", &value) && value)
        return GPU_IS_LOST;
    snprintf(key, sizeof key, "error.%s", function);
    if (get(who, key, &value))
        return value;
    return initialised ? SUCCESS : UNINITIALIZED;
}
