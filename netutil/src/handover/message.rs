//! Sockets on their way from one process to another: one message over a Unix socket, with the names as its text.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Sockets with their names.
pub(crate) type Named = Vec<(String, OwnedFd)>;

/// What the kernel takes in one message (`SCM_MAX_FD`).
pub(super) const MAX_SOCKETS: usize = 253;

/// All names, with a colon after each. The kernel keeps so much in one piece.
const MAX_NAME_BYTES: usize = 8192;

/// What a message begins with, so that no other is taken for one.
const GREETING: &[u8] = b"netutil handover 1\n";

/// Whether the names can travel. Those of `LISTEN_FDNAMES` can, which have no colon either.
pub(super) fn can_carry<'a>(names: impl IntoIterator<Item = &'a str>) -> bool {
    let mut left = MAX_NAME_BYTES;
    names.into_iter().enumerate().all(|(index, name)| {
        let fits = left > name.len();
        left = left.saturating_sub(name.len() + 1);
        fits && index < MAX_SOCKETS && !name.bytes().any(|byte| byte == b':' || byte.is_ascii_control())
    })
}

/// Sends what [`can_carry`] allows. It stays with the kernel until somebody takes it.
pub(super) fn send(socket: impl AsFd, sockets: &[(String, OwnedFd)]) -> io::Result<()> {
    let names: String = sockets.iter().map(|(name, _)| format!("{name}:")).collect();
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let text = [IoSlice::new(GREETING), IoSlice::new(names.as_bytes())];
    let sent = sendmsg(socket, &text, &mut control, SendFlags::NOSIGNAL)?;
    if sent == GREETING.len() + names.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Takes what was sent, without waiting. `None` if that is nothing of ours, which then stays where it is.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Option<Named>> {
    let mut begin = [0; GREETING.len()];
    let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
    let peeked =
        recvmsg(&socket, &mut [IoSliceMut::new(&mut begin)], &mut RecvAncillaryBuffer::default(), flags);
    if !peeked.is_ok_and(|peeked| peeked.bytes == GREETING.len()) || begin != *GREETING {
        return Ok(None);
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; GREETING.len() + MAX_NAME_BYTES];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(&socket, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors: Vec<OwnedFd> = rights.flatten().collect();
    let names = str::from_utf8(&text[GREETING.len()..received.bytes]).map_err(|_| malformed())?;
    let names: Vec<String> = names.split_terminator(':').map(str::to_owned).collect();
    // Where the process may have no more descriptors, the kernel leaves out those that are too many.
    if names.len() != descriptors.len() || received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(malformed());
    }
    Ok(Some(names.into_iter().zip(descriptors).collect()))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not as many sockets as names")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().expect("a pair")
    }

    fn listeners(count: usize) -> Vec<(String, OwnedFd)> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback address");
        let duplicate = |index| (format!("name {index}"), listener.try_clone().expect("a descriptor").into());
        (0..count).map(duplicate).collect()
    }

    #[test]
    fn as_many_as_one_message_takes_arrive_with_their_names() {
        for count in [0, 1, 2, MAX_SOCKETS] {
            let (one, other) = pair();
            let sent = listeners(count);
            assert!(can_carry(sent.iter().map(|(name, _)| &**name)));
            send(&one, &sent).expect("sent");
            let received = receive(&other).expect("received").expect("something");
            let names = |sockets: &[(String, OwnedFd)]| -> Vec<String> {
                sockets.iter().map(|(name, _)| name.clone()).collect()
            };
            assert_eq!(names(&received), names(&sent));
            let address = |socket: OwnedFd| TcpListener::from(socket).local_addr().expect("bound");
            let (sent, received) = (sent.into_iter(), received.into_iter());
            assert!(sent.zip(received).all(|(sent, received)| address(sent.1) == address(received.1)));
        }
    }

    #[test]
    fn names_that_cannot_travel_are_known_before() {
        assert!(can_carry(["", "http", "a b", "é"]));
        assert!(!can_carry(["a:b"]) && !can_carry(["a\nb"]));
        assert!(can_carry(std::iter::repeat_n("x", MAX_SOCKETS)));
        assert!(!can_carry(std::iter::repeat_n("x", MAX_SOCKETS + 1)));
        assert!(can_carry([&*"x".repeat(MAX_NAME_BYTES - 1)]));
        assert!(!can_carry([&*"x".repeat(MAX_NAME_BYTES)]));
        assert!(!can_carry([&*"x".repeat(MAX_NAME_BYTES - 1), ""]));
    }

    #[test]
    fn the_longest_names_arrive() {
        let (one, other) = pair();
        let mut sent = listeners(2);
        sent[0].0 = "x".repeat(MAX_NAME_BYTES / 2 - 1);
        sent[1].0 = "y".repeat(MAX_NAME_BYTES / 2 - 1);
        assert!(can_carry(sent.iter().map(|(name, _)| &**name)));
        send(&one, &sent).expect("sent");
        assert_eq!(receive(&other).expect("received").expect("something")[1].0, sent[1].0);
    }

    #[test]
    fn what_somebody_else_says_stays_where_it_is_and_nothing_is_waited_for() {
        let (mut one, mut other) = pair();
        assert!(receive(&other).expect("no error").is_none());
        one.write_all(b"hello, and some more that is not for us").expect("a connection");
        assert!(receive(&other).expect("no error").is_none());
        let mut said = [0; 5];
        other.read_exact(&mut said).expect("still there");
        assert_eq!(&said, b"hello");
        drop(one);
        assert!(receive(&other).expect("no error").is_none());
    }

    #[test]
    fn a_message_whose_names_and_sockets_do_not_match_is_an_error() {
        let (mut one, other) = pair();
        one.write_all(&[GREETING, b"http:"].concat()).expect("a connection");
        assert_eq!(receive(&other).expect_err("a name only").kind(), io::ErrorKind::InvalidData);
    }
}
