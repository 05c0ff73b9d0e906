//! An `/init` whose faults `/mode` selects. The tests build it statically with `rustc`.

mod sys;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process;
use std::thread;
use std::time::Duration;

const READY: &str = r#"{"event":"ready","release":"test","uptime_us":1}"#;
const STARTED: &str = r#"{"event":"started","scenario":"one"}"#;
const DONE: &str = r#"{"event":"done","scenarios":1}"#;

fn main() {
    say(READY);
    match fs::read_to_string("/mode").expect("/mode").as_str() {
        "done" => say(DONE),
        "early" => say(STARTED),
        "panic" => {
            say(STARTED);
            process::exit(3); // the kernel panics
        }
        "panic-after-done" => {
            say(DONE);
            process::exit(3);
        }
        "hang" => {
            say(STARTED);
            sleep_for_ever();
        }
        "hang-after-done" => {
            say(DONE);
            sleep_for_ever();
        }
        "print-endlessly" => print_endlessly("still here"),
        "warn" => {
            // The level of WARN() in the kernel.
            write(
                "/dev/kmsg",
                b"<4>WARNING: CPU: 0 PID: 1 at kernel/test.c:1 test+0x1/0x2\n",
            );
            write("/dev/kmsg", b"<5>not worth a line on the console\n");
            say(DONE);
        }
        "print-endlessly-started" => {
            say(STARTED);
            print_endlessly("still here");
        }
        "stall" => {
            say(STARTED);
            print_endlessly(STALL);
        }
        "stall-and-go-on" => {
            println!("{STALL}");
            say(DONE);
            sleep_for_ever();
        }
        "flood-reports" => loop {
            println!("{WARNING}");
        },
        "reports-and-events" => {
            for _ in 0..3 {
                println!("{}", format!("{WARNING}\n").repeat(150));
                say(STARTED);
            }
            say(DONE);
        }
        "garbage" => {
            say("not json");
            say(r#"{"event":"unheard-of"}"#);
            write(EVENTS, b"\xff\xfe\x00{\n\n\n");
            say(STARTED);
            write(EVENTS, &[&[b'x'; (1 << 20) + 10][..], b"\n"].concat());
            say(DONE);
            write(EVENTS, br#"{"event":"star"#);
        }
        "eat-memory" => {
            say(STARTED);
            let mut eaten = Vec::new();
            loop {
                eaten.push(vec![1_u8; 1 << 20]);
            }
        }
        "flood-events" => loop {
            write(EVENTS, format!("{STARTED}\n").repeat(1000).as_bytes());
        },
        "flood-console" => {
            println!("the first line");
            for _ in 0..1000 {
                println!("{}", format!("{}\n", "c".repeat(99)).repeat(60));
            }
            println!("the last line");
            say(DONE);
        }
        other => panic!("no such mode: {other}"),
    }
    sys::power_off();
}

const EVENTS: &str = "/dev/ttyS1";

fn say(event: &str) {
    write(EVENTS, format!("{event}\n").as_bytes());
}

/// Opens, writes and closes: closing a serial port waits until all bytes are sent.
fn write(path: &str, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).expect(path);
    file.write_all(bytes).expect(path);
}

const STALL: &str = "rcu: INFO: rcu_sched self-detected stall on CPU";
const WARNING: &str = "WARNING: CPU: 0 PID: 1 at kernel/test.c:1 test+0x1/0x2";

fn print_endlessly(text: &str) -> ! {
    loop {
        println!("{text}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn sleep_for_ever() {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
