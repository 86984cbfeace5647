use proptest::prelude::*;

use super::*;

/// Everything the parser makes of `input` when it arrives cut at `cuts`.
fn parse_all(limits: RequestLimits, input: &[u8], cuts: &[usize]) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
    let mut parser = Parser::new(limits);
    let mut buf = BytesMut::new();
    let mut requests = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([input.len()]) {
        buf.extend_from_slice(&input[from..to]);
        from = to;
        loop {
            match parser.next(&mut buf) {
                Ok(Some(args)) => requests.push(args.iter().map(|arg| arg.to_vec()).collect()),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn parse_text(input: &str) -> (Vec<Vec<String>>, Option<String>) {
    let (requests, error) = parse_all(RequestLimits::default(), input.as_bytes(), &[]);
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    (requests.iter().map(|args| args.iter().map(text).collect()).collect(), error.map(|error| error.to_string()))
}

#[test]
fn arrays_and_lines_are_requests() {
    let (requests, error) = parse_text("*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n\r\nset k 'a b'\n*1\r\n$0\r\n\r\n");
    assert_eq!(error, None);
    assert_eq!(requests, [vec!["GET", "k"], vec!["PING"], vec!["set", "k", "a b"], vec![""]]);
}

#[test]
fn empty_arrays_ask_nothing() {
    assert_eq!(parse_text("*0\r\n*-1\r\n*-7\r\nPING\r\n"), (vec![vec!["PING".to_owned()]], None));
}

#[test]
fn what_is_not_a_request_is_named() {
    for (input, expected) in [
        ("*x\r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*01\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"),
        ("*1\rx", "invalid multibulk length"),
        ("*1048577\r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
        ("*1\r\nPING\r\n", "expected '$', got 'P'"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$x\r\n", "invalid bulk length"),
        ("*1\r\n$536870912\r\n", "invalid bulk length"),
        ("*1\r\n$1\r\nab\r\n", "expected CRLF after an argument"),
        ("get \"k\r\n", "unbalanced quotes in request"),
    ] {
        assert_eq!(parse_text(input), (vec![], Some(expected.to_owned())), "{input:?}");
    }
}

#[test]
fn a_request_is_limited_as_a_whole_and_before_it_arrives() {
    let limits = RequestLimits { request_bytes: 100, argument_bytes: 60, arguments: 3, ..RequestLimits::default() };
    let declared = b"*3\r\n$3\r\nSET\r\n$60\r\n";
    assert_eq!(parse_all(limits, declared, &[]), (vec![], None));
    let mut second = declared.to_vec();
    second.extend_from_slice(&[b'x'; 60]);
    second.extend_from_slice(b"\r\n$40\r\n");
    assert_eq!(parse_all(limits, &second, &[]).1, Some(ProtocolError::RequestTooLarge { limit: 100 }));
    assert_eq!(parse_all(limits, b"*4\r\n", &[]).1, Some(ProtocolError::ArgumentCount));
    assert_eq!(parse_all(limits, b"*1\r\n$61\r\n", &[]).1, Some(ProtocolError::ArgumentLength));
    assert_eq!(parse_all(limits, b"a b c d\r\n", &[]).1, Some(ProtocolError::ArgumentCount));
}

#[test]
fn strangers_may_send_less() {
    let limits = RequestLimits::UNAUTHENTICATED;
    assert_eq!(parse_all(limits, b"*11\r\n", &[]).1, Some(ProtocolError::UnauthenticatedArgumentCount));
    assert_eq!(parse_all(limits, b"*1\r\n$16385\r\n", &[]).1, Some(ProtocolError::UnauthenticatedArgumentLength));
    let mut parser = Parser::new(limits);
    parser.set_limits(RequestLimits::default());
    assert!(matches!(parser.next(&mut BytesMut::from(&b"*11\r\n"[..])), Ok(None)));
}

#[test]
fn a_declared_length_allocates_nothing() {
    let mut parser = Parser::default();
    let mut buf = BytesMut::from(&b"*1048576\r\n$16777216\r\n"[..]);
    let before = buf.capacity();
    assert!(matches!(parser.next(&mut buf), Ok(None)));
    assert_eq!(buf.capacity(), before);
    assert!(!parser.spans.spilled());
}

#[test]
fn a_line_may_not_grow_without_end() {
    let limits = RequestLimits { inline_bytes: 8, ..RequestLimits::default() };
    assert_eq!(parse_all(limits, b"12345678\n", &[]).1, None);
    assert_eq!(parse_all(limits, b"123456789\n", &[]).1, Some(ProtocolError::LineTooLong));
    assert_eq!(parse_all(limits, b"123456789", &[]).1, Some(ProtocolError::LineTooLong));
}

#[test]
fn only_an_unfinished_request_stays_in_the_buffer() {
    let mut parser = Parser::default();
    let mut buf = BytesMut::from(&b"PING\r\n*0\r\n*1\r\n$4\r\nPI"[..]);
    assert!(matches!(parser.next(&mut buf), Ok(Some(_))));
    assert!(matches!(parser.next(&mut buf), Ok(None)));
    assert!(!buf.is_empty());
    buf.extend_from_slice(b"NG\r\n");
    assert!(matches!(parser.next(&mut buf), Ok(Some(_))));
    assert!(buf.is_empty());
}

#[test]
fn arguments_are_slices_of_the_buffer_they_came_in() {
    let mut buf = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n"[..]);
    let range = buf.as_ptr_range();
    let args = Parser::default().next(&mut buf).unwrap().unwrap();
    assert!(args.iter().all(|arg| range.contains(&arg.as_ptr())));
    assert!(!args.spilled());
}

fn bytes_like_requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..6),
        2 => Just(b"\r\n".to_vec()),
        2 => (0u32..12).prop_map(|n| format!("*{n}\r\n").into_bytes()),
        2 => (0u32..40).prop_map(|n| format!("${n}\r\n").into_bytes()),
        4 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|arg| {
            [format!("${}\r\n", arg.len()).into_bytes(), arg, b"\r\n".to_vec()].concat()
        }),
        2 => prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 1..4).prop_map(|args| {
            let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
            for arg in args {
                bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                bytes.extend_from_slice(&arg);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes
        }),
        1 => Just(b"set k \"a\\x41\" 'b'\r\n".to_vec()),
        1 => Just(b"*1\r\n$536870912\r\n".to_vec()),
        1 => Just(b"*1\r\n*1\r\n".to_vec()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        input in bytes_like_requests(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let limits = RequestLimits { request_bytes: 200, argument_bytes: 64, arguments: 8, inline_bytes: 32, unauthenticated: false };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = parse_all(limits, &input, &[]);
        prop_assert_eq!(&parse_all(limits, &input, &cuts), &whole);
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&parse_all(limits, &input, &every), &whole);
    }

    #[test]
    fn what_a_client_encodes_is_what_is_parsed(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..9)) {
        let mut bytes = BytesMut::new();
        crate::encode::request(&args, &mut bytes);
        prop_assert_eq!(parse_all(RequestLimits::default(), &bytes, &[]), (vec![args], None));
    }
}
