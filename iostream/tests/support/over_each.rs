//! One generic check as a test for each transport on which bytes go both ways, plain and under TLS.

/// `$check` takes what makes a transport of a seed.
macro_rules! over_each_transport {
    ($check:path) => {
        #[test]
        fn over_a_pair_in_memory() {
            $check(crate::support::transports::Memory::seeded);
        }

        #[test]
        fn over_tcp() {
            $check(|_| crate::support::transports::Tcp);
        }

        #[cfg(unix)]
        #[test]
        fn over_a_unix_socket() {
            $check(|_| crate::support::transports::Unix);
        }

        #[cfg(unix)]
        #[test]
        fn over_a_pair_of_pipes() {
            $check(|_| crate::support::transports::Pipes);
        }

        #[test]
        fn over_tls_over_tcp() {
            $check(|seed| crate::tls_over::Tls::seeded(crate::support::transports::Tcp, seed));
        }

        #[test]
        fn over_tls_over_a_pair_in_memory() {
            $check(|seed| {
                crate::tls_over::Tls::seeded(crate::support::transports::Memory::seeded(seed), seed)
            });
        }
    };
}
