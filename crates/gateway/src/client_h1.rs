//! HTTP/1.1 towards clients (RFC 9112): one request after another, each answered before the next is read. Nothing is kept
//! of an idle connection but the lines of its last head.

use std::{
    cell::RefCell,
    io,
    pin::{Pin, pin},
    rc::{Rc, Weak},
    sync::atomic::Ordering,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, Method, Response, StatusCode, Version, header::HeaderName};
use http_body::Body;
use tokio::{sync::oneshot, time::sleep_until};

use crate::{
    body::GateBody,
    client_body::{Incoming, PollBody},
    client_stream::{ClientStream, Duplex},
    core::{Core, Entered},
    error::Failure,
    h1::outbox::{Framing, Misframed, Outbox, lines_of},
    listener::ConnectionInfo,
    local,
    proxy::{self, Arrived},
    tunnel::Upgrade,
    upstream::{LONGEST, deadline},
};

mod answer;
pub(crate) mod head;
mod wire;

pub(crate) use answer::Date;
use answer::{Asked, Promise, encode};
use head::Memory;
use wire::{NoHead, Wire};

/// How a connection ends.
enum Ending {
    /// There is nothing more to say, or nobody to say it to.
    Over,
    /// For another protocol, which is waited for here.
    Switches(oneshot::Sender<Box<dyn Duplex>>),
}

/// Serves a connection to its end.
pub(crate) async fn serve<S>(
    core: Rc<Core>,
    stream: ClientStream<S>,
    info: Rc<ConnectionInfo>,
    entered: &Entered,
) where
    S: Duplex + 'static,
{
    let limits = core.settings.limits;
    let wire = Rc::new(RefCell::new(Wire::new(stream, core.pools.buffers().clone())));
    let ending = {
        let mut conversation = pin!(converse(&core, &wire, &info));
        // A limit on heads alone would make a timer for each. This one looks twice in the time allowed.
        let glance = (limits.header.min(LONGEST) / 2).max(Duration::from_millis(1));
        let mut timer = pin!(sleep_until(deadline(glance)));
        // What the client had taken when it was first seen idle, and how many glances ago.
        let mut idle = Some((0, 0));
        std::future::poll_fn(|cx| {
            entered.wake_on_drain(cx.waker());
            if let Poll::Ready(ending) = conversation.as_mut().poll(cx) {
                return Poll::Ready(ending);
            }
            info.occupation
                .set_reading(info.signs.heard.load(Ordering::Relaxed) && !info.occupation.is_answering());
            while timer.as_mut().poll(cx).is_ready() {
                let taken = info.signs.taken.load(Ordering::Relaxed);
                idle = match idle {
                    _ if info.occupation.is_answering() => None,
                    Some((same, glances)) if same == taken => Some((taken, glances + 1)),
                    _ => Some((taken, 0)),
                };
                if idle.is_some_and(|(_, glances)| glances == 2) {
                    return Poll::Ready(Ending::Over);
                }
                timer.as_mut().reset(deadline(glance));
            }
            Poll::Pending
        })
        .await
    };
    if let Ending::Switches(waiting) = ending
        && let Some(wire) = Rc::into_inner(wire)
    {
        // Whoever waits may have given up.
        let _ = waiting.send(Box::new(wire.into_inner().into_stream()));
    }
}

/// Answers requests until there is no next one.
async fn converse<S>(core: &Rc<Core>, wire: &Rc<RefCell<Wire<S>>>, info: &Rc<ConnectionInfo>) -> Ending
where
    S: Duplex + 'static,
{
    let mut memory = Memory::new(info.peer.trusted);
    loop {
        let reading = std::future::poll_fn(|cx| wire.borrow_mut().poll_head(cx, core, &mut memory));
        let (head, turn) = match reading.await {
            Ok(found) => found,
            Err(NoHead::Gone) => return Ending::Over,
            Err(NoHead::Ended) => return close(wire).await,
            Err(NoHead::Refused(failure)) => {
                core.metrics.head_refused();
                info.signs.unread.store(true, Ordering::Relaxed);
                refuse(core, wire, info, &failure).await;
                return close(wire).await;
            }
        };
        info.occupation.begin();
        info.signs.heard.store(false, Ordering::Relaxed);
        let asked = Asked {
            head_alone: head.parts.method == Method::HEAD,
            http_10: head.parts.version == Version::HTTP_10,
            keep_alive: head.keep_alive,
            takes_trailers: head.takes_trailers,
        };
        let (switch, upgrade) = head.upgrades.then(oneshot::channel).unzip();
        let answer = {
            let body = (!head.body.is_done()).then(|| {
                let wire: Weak<RefCell<dyn PollBody>> = Rc::downgrade(wire) as _;
                Incoming::H1(wire, turn)
            });
            let arrived =
                Arrived { parts: head.parts, seen: head.seen, body, upgrade: upgrade.map(Upgrade::H1) };
            // Most connections are idle, and have no room for it. A box is the one that another request has just left,
            // warm.
            let mut answering = local::boxed(|| proxy::serve(Rc::clone(core), Rc::clone(info), arrived));
            std::future::poll_fn(|cx| match answering.as_mut().poll(cx) {
                Poll::Pending if wire.borrow_mut().is_gone(cx) => Poll::Ready(None),
                answer => answer.map(Some),
            })
            .await
        };
        let Some(answer) = answer else { return Ending::Over };
        let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let sent = send(core, (wire, info), asked, answer).await;
        wire.borrow_mut().end_turn();
        info.occupation.end();
        info.signs.heard.store(false, Ordering::Relaxed);
        match sent {
            Err(_) => return Ending::Over,
            Ok(_) if switches => return switch.map_or(Ending::Over, Ending::Switches),
            Ok(true) => {}
            Ok(false) => return close(wire).await,
        }
        if !finish_body(wire, info).await {
            return close(wire).await;
        }
    }
}

/// Whether the body of the request at hand was read to its end, or can be without waiting.
async fn finish_body<S: Duplex>(wire: &RefCell<Wire<S>>, info: &ConnectionInfo) -> bool {
    // What waits in the socket is not to be taken for nothing because this task has done much.
    let finishing = std::future::poll_fn(|cx| Poll::Ready(wire.borrow_mut().finish_body(cx)));
    let finished = tokio::task::coop::unconstrained(finishing).await;
    if finished {
        info.signs.unread.store(false, Ordering::Relaxed);
    }
    finished
}

async fn close<S: Duplex>(wire: &RefCell<Wire<S>>) -> Ending {
    // How it ends is the client's affair.
    let _ = std::future::poll_fn(|cx| wire.borrow_mut().poll_shutdown(cx)).await;
    Ending::Over
}

/// Answers what is no request.
async fn refuse<S: Duplex>(core: &Core, wire: &RefCell<Wire<S>>, info: &ConnectionInfo, failure: &Failure) {
    let asked = Asked { head_alone: false, http_10: false, keep_alive: false, takes_trailers: false };
    let reply = core.snapshot().not_found.0.reply(failure.status(), failure.message(), false);
    // How it arrives is the client's affair.
    let _ = send(core, (wire, info), asked, proxy::refusal(reply)).await;
}

/// Puts the head of an answer into the outbox.
fn begin<S: Duplex>(
    core: &Core,
    wire: &mut Wire<S>,
    mut asked: Asked,
    head: (StatusCode, &HeaderMap),
    length: Option<u64>,
) -> Promise {
    // A body that waits for leave, which is not given any more, may come or not.
    asked.keep_alive &=
        !std::mem::take(&mut wire.waits) && !wire.has_ended() && !core.connections.is_draining();
    wire.begin_answer();
    let date = |out: &mut _| core.date.add(core.settings.clock.now(), out);
    let promise = encode(&mut wire.outbox.out, asked, head, length, date);
    wire.outbox.framing = promise.framing;
    promise
}

/// Sends an answer: whether another request may follow. An error is that it did not arrive whole.
async fn send<S>(
    core: &Core,
    (wire, info): (&RefCell<Wire<S>>, &ConnectionInfo),
    mut asked: Asked,
    answer: Response<GateBody>,
) -> io::Result<bool>
where
    S: Duplex,
{
    let (parts, body) = answer.into_parts();
    // Nobody asks for more of the request's body: whatever of it is not here yet would be taken for the next request.
    if body.is_at_hand() && asked.keep_alive {
        asked.keep_alive = finish_body(wire, info).await;
    }
    let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    let promise = begin(core, &mut wire.borrow_mut(), asked, (parts.status, &parts.headers), length);
    core.pools.recycle(parts.headers);
    let over = promise.framing == Framing::Nothing || body.is_end_stream();
    let mut sending = Sending {
        body: (!over).then_some(body),
        broken: false,
        trailers: if asked.takes_trailers { promise.trailers } else { Vec::new() },
    };
    std::future::poll_fn(|cx| sending.poll(cx, wire)).await?;
    Ok(promise.keep_alive)
}

/// An answer's body on its way.
struct Sending {
    /// Let go as soon as nothing more of it is to come: whoever has the whole answer may ask whether it has ended.
    body: Option<GateBody>,
    /// It came to a bad end: the client gets what came of it, and no end that looks like a good one.
    broken: bool,
    /// Trailers that may follow.
    trailers: Vec<HeaderName>,
}

impl Sending {
    fn poll<S>(&mut self, cx: &mut Context<'_>, wire: &RefCell<Wire<S>>) -> Poll<io::Result<()>>
    where
        S: Duplex,
    {
        loop {
            let waits = self.fill(cx, wire);
            let mut wire = wire.borrow_mut();
            ready!(wire.poll_write(cx))?;
            if self.broken || (waits && wire.is_gone(cx)) {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if self.body.is_none() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Puts as much of the body into the outbox as it takes: whether the body is waited for.
    fn fill<S>(&mut self, cx: &mut Context<'_>, wire: &RefCell<Wire<S>>) -> bool
    where
        S: Duplex,
    {
        while wire.borrow().outbox.has_room() {
            let Some(body) = &mut self.body else { break };
            // The body of the request may go on while the answer's is read: the wire is free for it here.
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return true };
            let ends = body.is_end_stream();
            let wire = &mut *wire.borrow_mut();
            wire.outbox.open(&wire.buffers);
            let added = match frame {
                None => self.end(None, &mut wire.outbox),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let added = wire.outbox.add(data);
                        // Behind a large piece nothing can be put yet: its end is found when it has left.
                        let ends = ends && wire.outbox.has_room();
                        added.and_then(|()| if ends { self.end(None, &mut wire.outbox) } else { Ok(()) })
                    }
                    Err(frame) => self.end(frame.trailers_ref(), &mut wire.outbox),
                },
                Some(Err(_)) => Err(Misframed),
            };
            if added.is_err() {
                (self.body, self.broken) = (None, true);
            }
        }
        false
    }

    fn end(&mut self, trailers: Option<&HeaderMap>, outbox: &mut Outbox) -> Result<(), Misframed> {
        self.body = None;
        outbox.end(lines_of(trailers).filter(|(name, _)| self.trailers.contains(name)))
    }
}
