// A CUDA driver without a GPU, for tests of what runs above the driver.
//
// Compiled against NVIDIA's own cuda.h (Triton ships it), so the compiler checks every signature.
// Device memory has addresses that no host pointer can have, with host memory behind them: a
// program that follows a device pointer crashes here as it would on a GPU. Work given to a stream
// is kept in a queue and done as late as CUDA's rules allow (a wait, a query, a dependency), so
// that a buffer that is reused too early gives wrong data. Kernels do nothing: launches are
// recorded with the bytes of their parameters. Every call is recorded and can be made to fail.
#pragma once
#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Of cudaProfiler.h, which Triton does not bring along.
CUresult cuProfilerStart(void);
CUresult cuProfilerStop(void);

enum { MAX_ARGS = 12, MAX_DEVICES = 8 };

typedef struct {
    const char *name;          // entry point
    uint64_t args[MAX_ARGS];   // as the caller gave them, results excepted
    int32_t count;             // how many args
    int32_t code;              // what was returned
    uint64_t result;           // handle or address that was made
    uint64_t context;          // current at the call
    uint64_t thread;
    uint64_t graph;            // handle of the graph that captured it, or 0
    const char *text;          // name of a kernel
    uint8_t *params;           // of a launch: for each parameter its size (u32), then its bytes
    uint32_t params_size;
} Record;

typedef enum { CONTEXT = 1, STREAM, EVENT, MODULE, FUNCTION, GRAPH, EXEC, POOL } Kind;

typedef enum { COPY_HD, COPY_DH, COPY_DD, FILL, FREE, SIGNAL, WAIT, LAUNCH, REPLAY } OpKind;

typedef struct Stream Stream;
typedef struct Event Event;

typedef struct {
    OpKind kind;
    uint64_t to, from, size;
    uint8_t byte;
    Event *event;              // SIGNAL
    uint64_t generation;       // SIGNAL: which record of the event
    Stream *other;             // WAIT: run this stream ...
    uint64_t upto;             // ... to this point
    const char *text;          // LAUNCH
    struct Graph *graph;       // REPLAY
} Op;

typedef struct Graph {
    Op *nodes;
    size_t count, room;
    uint64_t handle;
    uint64_t *owned;           // addresses of allocation nodes
    size_t owned_count;
    int users;                 // the graph, its executables, replays in a queue
} Graph;

typedef struct {
    uint64_t id;
    Graph *graph;
    Stream *origin;
    CUstreamCaptureMode mode;
    uint64_t thread;
    bool invalid;
} Capture;

typedef struct Context {
    int device;
    uint64_t handle;
    int retained;
    Stream *legacy, *per_thread;
} Context;

struct Stream {
    Context *context;
    uint64_t handle;
    bool blocking, live;
    int priority;
    Op *queue;
    uint64_t first, end, room;  // op number n lies at queue[n - base]
    uint64_t base;
    Capture *capture;
    bool unjoined;             // captured work that the origin does not wait for yet
};

struct Event {
    uint64_t handle;
    Context *context;
    unsigned flags;
    Stream *stream;            // of the last record; NULL before
    uint64_t at;               // op number of the last record
    uint64_t generation, done; // done == generation: complete
    double ms;                 // when it was
    Capture *capture;          // recorded inside this one
};

typedef struct {
    int count;
    uint64_t memory;           // bytes a device
    int version, arch;
    bool eager;                // do work when it is queued
    bool record;
    bool still;                // queries make no progress
    bool pageable;             // the GPU reads pageable memory itself, and later
} Settings;

extern Settings settings;
extern int initialized_by;     // pid
extern _Thread_local Context *current;
extern Context contexts[MAX_DEVICES];
extern uint64_t bytes_live[MAX_DEVICES], bytes_peak[MAX_DEVICES];
extern uint64_t hosts_live, blocks_live;
extern int sticky;             // an error that every later call returns

// core.c
typedef struct { Record *record; CUresult fault; } Call;
Call enter(const char *name, const uint64_t *args, int count, int needs);
int lock(void);
void unlock(int *);
uint64_t thread_id(void);
uint64_t add_object(Kind kind, void *object);
void *find_object(Kind kind, uint64_t handle);
void drop_object(uint64_t handle);
void violation(const char *format, ...);

enum { NOTHING, INIT, CURRENT };  // what a call needs first

#define ENTER(name, needs, ...)                                                   \
    __attribute__((cleanup(unlock), unused)) int locked_ = lock();                \
    uint64_t args_[] = {0, ##__VA_ARGS__};                                        \
    Call call_ = enter(name, args_ + 1, (int)(sizeof args_ / 8) - 1, needs);      \
    if (call_.fault) return call_.fault
#define U(x) ((uint64_t)(x))
#define RETURN(code_) return call_.record->code = (int)(code_)
#define GIVE(made) (call_.record->result = U(made))

// memory.c
CUresult allocate(uint64_t *address, uint64_t size, int device, Graph *owner);
void release(uint64_t address);
void *backing(uint64_t address, uint64_t size, const char *what);
bool is_pinned(const void *host, uint64_t size);

// module.c
void launched(const char *name);

// stream.c
Stream *find_stream(CUstream handle);
CUresult push(Stream *s, Op op, Record *record);
void run_op(Op *op);
void run_to(Stream *s, uint64_t upto);
void run_all(Context *c);
void run_everything(void);
Stream *new_stream(Context *c, bool blocking, int priority);
bool leave_capture(Capture *c);  // whether captured work was left that nothing waits for

// graph.c
CUresult unsafe_call(void);
void add_node(Graph *g, Op op);
void drop_graph(Graph *g);
CUresult refuse_capture(Capture *c);                      // spoils it: CAPTURE_UNSUPPORTED
Capture *capture_in(Context *c, bool blocking_only);      // one in progress, or NULL
