// Capture of streams into graphs, and replay in the order of capture.
#include "fake.h"
#include <stdlib.h>

typedef struct { Graph *graph; } Exec;

static Capture **captures;
static size_t capture_count;
static uint64_t capture_ids;
static _Thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

CUresult refuse_capture(Capture *c) {
    c->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

// Whether a call that the driver cannot put into a graph may be made now.
CUresult unsafe_call(void) {
    if (thread_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return 0;
    for (size_t i = 0; i < capture_count; i++) {
        Capture *c = captures[i];
        bool mine = c->thread == thread_id() && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
        bool others = c->thread != thread_id() && c->mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                      thread_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
        if (mine || others) return refuse_capture(c);
    }
    return 0;
}

void add_node(Graph *g, Op op) {
    if (g->count == g->room) {
        g->room = g->room ? 2 * g->room : 16;
        g->nodes = realloc(g->nodes, g->room * sizeof *g->nodes);
    }
    g->nodes[g->count++] = op;
}

void drop_graph(Graph *g) {
    if (--g->users) return;
    for (size_t i = 0; i < g->owned_count; i++) release(g->owned[i]);
    free(g->owned);
    free(g->nodes);
    free(g);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode) {
    ENTER("cuThreadExchangeStreamCaptureMode", INIT, *mode);
    CUstreamCaptureMode before = thread_mode;
    if ((int)*mode < 0 || *mode > 2) RETURN(CUDA_ERROR_INVALID_VALUE);
    thread_mode = *mode;
    *mode = before;
    RETURN(0);
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
    ENTER("cuStreamBeginCapture", CURRENT, U(stream), mode);
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (s == s->context->legacy) RETURN(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (s->capture || (int)mode < 0 || mode > 2) RETURN(CUDA_ERROR_ILLEGAL_STATE);
    Graph *g = calloc(1, sizeof *g);
    g->users = 1;
    g->handle = add_object(GRAPH, g);
    Capture *c = calloc(1, sizeof *c);
    *c = (Capture){++capture_ids, g, s, mode, thread_id(), false};
    captures = realloc(captures, (capture_count + 1) * sizeof *captures);
    captures[capture_count++] = c;
    s->capture = c;
    s->unjoined = false;
    GIVE(g->handle);
    RETURN(0);
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
    ENTER("cuStreamEndCapture", CURRENT, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    Capture *c = s->capture;
    *graph = NULL;
    if (!c) RETURN(CUDA_ERROR_ILLEGAL_STATE);
    if (c->origin != s) RETURN(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    if (c->thread != thread_id() && c->mode != CU_STREAM_CAPTURE_MODE_RELAXED)
        RETURN(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    bool unjoined = leave_capture(c);
    for (size_t i = 0; i < capture_count; i++)
        if (captures[i] == c) captures[i] = captures[--capture_count];
    if (c->invalid || unjoined) {
        drop_object(c->graph->handle);
        drop_graph(c->graph);
        RETURN(c->invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
    }
    *graph = (CUgraph)c->graph->handle;
    GIVE(c->graph->handle);
    RETURN(0);
}

CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
    ENTER("cuStreamIsCapturing", CURRENT, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (s == s->context->legacy && capture_in(s->context, true))
        RETURN(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    *status = !s->capture ? 0 : s->capture->invalid ? 2 : 1;
    RETURN(0);
}

CUresult cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id,
                                   CUgraph *graph, const CUgraphNode **dependencies,
                                   const CUgraphEdgeData **edges, size_t *count) {
    ENTER("cuStreamGetCaptureInfo", CURRENT, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (s == s->context->legacy && capture_in(s->context, true))
        RETURN(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    bool active = s->capture && !s->capture->invalid;
    *status = !s->capture ? 0 : active ? 1 : 2;
    if (id) *id = active ? s->capture->id : 0;
    if (graph) *graph = (CUgraph)(active ? s->capture->graph->handle : 0);
    if (dependencies) *dependencies = NULL;
    if (edges) *edges = NULL;
    if (count) *count = 0;
    RETURN(0);
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags) {
    ENTER("cuGraphInstantiate", CURRENT, U(graph), flags);
    Graph *g = find_object(GRAPH, U(graph));
    if (!g) RETURN(CUDA_ERROR_INVALID_VALUE);
    Exec *e = calloc(1, sizeof *e);
    e->graph = g;
    g->users++;
    *exec = (CUgraphExec)add_object(EXEC, e);
    GIVE(*exec);
    RETURN(0);
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
    ENTER("cuGraphLaunch", CURRENT, U(exec), U(stream));
    Exec *e = find_object(EXEC, U(exec));
    Stream *s = find_stream(stream);
    if (!e) RETURN(CUDA_ERROR_INVALID_VALUE);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    e->graph->users++;
    RETURN(push(s, (Op){.kind = REPLAY, .graph = e->graph}, call_.record));
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
    ENTER("cuGraphExecDestroy", INIT, U(exec));
    Exec *e = find_object(EXEC, U(exec));
    if (!e) RETURN(CUDA_ERROR_INVALID_VALUE);
    drop_object(U(exec));
    drop_graph(e->graph);
    free(e);
    RETURN(0);
}

CUresult cuGraphDestroy(CUgraph graph) {
    ENTER("cuGraphDestroy", INIT, U(graph));
    Graph *g = find_object(GRAPH, U(graph));
    if (!g) RETURN(CUDA_ERROR_INVALID_VALUE);
    drop_object(U(graph));
    drop_graph(g);
    RETURN(0);
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count) {
    ENTER("cuGraphGetNodes", INIT, U(graph));
    Graph *g = find_object(GRAPH, U(graph));
    if (!g || nodes) RETURN(CUDA_ERROR_INVALID_VALUE);  // how many, not which
    *count = g->count;
    RETURN(0);
}
