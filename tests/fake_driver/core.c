// Calls: recorded, counted, made to fail. Handles. What tests ask of the driver.
#include "fake.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

Settings settings = {.count = 1, .memory = 1ull << 30, .version = 13000, .arch = 90, .record = 1};
int initialized_by, sticky;
_Thread_local Context *current;

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
int lock(void) { pthread_mutex_lock(&mutex); return 1; }
void unlock(int *locked) { (void)locked; pthread_mutex_unlock(&mutex); }

static _Thread_local uint64_t my_thread;
static uint64_t threads;
uint64_t thread_id(void) { return my_thread ? my_thread : (my_thread = ++threads); }

// ---- records and faults -------------------------------------------------------------------------

static Record *records;
static size_t record_count, record_room;
static Record scratch;
static uint64_t calls;

typedef struct { char name[64]; uint64_t left; int code; } Fault;
enum { MAX_FAULTS = 64 };
static Fault faults[MAX_FAULTS];
static int fault_count;

static char **violations;
static size_t violation_count;

void violation(const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    violations = realloc(violations, (violation_count + 1) * sizeof *violations);
    violations[violation_count++] = strdup(text);
}

static int injected(const char *name) {
    int code = 0;
    for (int i = 0; i < fault_count; i++) {
        Fault *f = &faults[i];
        if (f->name[0] && strcmp(f->name, name)) continue;
        if (f->left && --f->left == 0) code = f->code;
    }
    return code;
}

static Record *new_record(void) {
    if (!settings.record) return &scratch;
    if (record_count == record_room) {
        record_room = record_room ? 2 * record_room : 4096;
        records = realloc(records, record_room * sizeof *records);
    }
    return &records[record_count++];
}

Call enter(const char *name, const uint64_t *args, int count, int needs) {
    Record *r = new_record();
    memset(r, 0, sizeof *r);
    r->name = name;
    memcpy(r->args, args, count * sizeof *args);
    r->count = count;
    r->context = current ? current->handle : 0;
    r->thread = thread_id();
    calls++;
    int code = injected(name);
    if (!code && needs && initialized_by != getpid()) code = CUDA_ERROR_NOT_INITIALIZED;
    if (!code && needs && sticky) code = sticky;
    if (!code && needs == CURRENT && !current) code = CUDA_ERROR_INVALID_CONTEXT;
    r->code = code;
    return (Call){r, code};
}

// ---- handles: numbers that are never used twice -------------------------------------------------

typedef struct { Kind kind; void *object; } Handle;
static Handle *handles;
static size_t handle_count, handle_room;
enum { FIRST = 0x1000 };

uint64_t add_object(Kind kind, void *object) {
    if (handle_count == handle_room) {
        handle_room = handle_room ? 2 * handle_room : 1024;
        handles = realloc(handles, handle_room * sizeof *handles);
    }
    handles[handle_count] = (Handle){kind, object};
    return (FIRST + handle_count++) * 16;
}

static Handle *slot(uint64_t handle) {
    uint64_t i = handle / 16 - FIRST;
    return handle % 16 == 0 && handle / 16 >= FIRST && i < handle_count ? &handles[i] : NULL;
}

void *find_object(Kind kind, uint64_t handle) {
    Handle *h = slot(handle);
    return h && h->kind == kind ? h->object : NULL;
}

void drop_object(uint64_t handle) {
    Handle *h = slot(handle);
    if (h) h->object = NULL;
}

// ---- for tests ----------------------------------------------------------------------------------

#define API __attribute__((visibility("default")))

API uint64_t fake_record_count(void) { return record_count; }
API Record *fake_record(uint64_t i) { return i < record_count ? &records[i] : NULL; }
API uint64_t fake_calls(void) { return calls; }
API uint64_t fake_live_bytes(int device) { return bytes_live[device]; }
API uint64_t fake_peak_bytes(int device) { return bytes_peak[device]; }
API uint64_t fake_live_blocks(void) { return blocks_live; }
API uint64_t fake_live_hosts(void) { return hosts_live; }
API uint64_t fake_violation_count(void) { return violation_count; }
API const char *fake_violation(uint64_t i) { return violations[i]; }

API uint64_t fake_live_objects(int kind) {
    __attribute__((cleanup(unlock), unused)) int locked = lock();
    uint64_t n = 0;
    for (size_t i = 0; i < handle_count; i++) n += (int)handles[i].kind == kind && handles[i].object;
    return n;
}

API void fake_clear(void) {
    __attribute__((cleanup(unlock), unused)) int locked = lock();
    for (size_t i = 0; i < record_count; i++) free(records[i].params);
    record_count = 0;
}

// The nth call from now of entry point `name` ("": of any) returns `code` and does nothing else.
API void fake_fail(const char *name, uint64_t nth, int code) {
    __attribute__((cleanup(unlock), unused)) int locked = lock();
    if (fault_count == MAX_FAULTS) abort();
    Fault *f = &faults[fault_count++];
    snprintf(f->name, sizeof f->name, "%s", name);
    f->left = nth;
    f->code = code;
}

API void fake_mend(void) { fault_count = 0; sticky = 0; }
API void fake_set_record(int on) { settings.record = on; }
API void fake_set_eager(int on) { settings.eager = on; }
API void fake_set_still(int on) { settings.still = on; }
API void fake_set_memory(uint64_t bytes) { settings.memory = bytes; }

API void fake_run(void) {
    __attribute__((cleanup(unlock), unused)) int locked = lock();
    run_everything();
}

API int fake_read(void *to, uint64_t address, uint64_t size) {
    __attribute__((cleanup(unlock), unused)) int locked = lock();
    void *p = backing(address, size, "fake_read");
    if (!p) return 1;
    memcpy(to, p, size);
    return 0;
}

API int fake_write(uint64_t address, const void *from, uint64_t size) {
    __attribute__((cleanup(unlock), unused)) int locked = lock();
    void *p = backing(address, size, "fake_write");
    if (!p) return 1;
    memcpy(p, from, size);
    return 0;
}

static uint64_t from_env(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

__attribute__((constructor)) static void configure(void) {
    settings.count = (int)from_env("FAKE_CUDA_DEVICES", settings.count);
    settings.memory = from_env("FAKE_CUDA_MEMORY", settings.memory);
    settings.version = (int)from_env("FAKE_CUDA_VERSION", settings.version);
    settings.arch = (int)from_env("FAKE_CUDA_ARCH", settings.arch);
    settings.eager = from_env("FAKE_CUDA_EAGER", 0);
    settings.pageable = from_env("FAKE_CUDA_PAGEABLE", 0);
    settings.record = from_env("FAKE_CUDA_RECORD", 1);
    const char *fault = getenv("FAKE_CUDA_FAULT");  // name:nth:code
    char name[64];
    unsigned long long nth;
    int code;
    if (fault && sscanf(fault, "%63[^:]:%llu:%d", name, &nth, &code) == 3) fake_fail(name, nth, code);
}
