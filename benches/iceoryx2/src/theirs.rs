//! iceoryx2's side: one service for a measurement, named after the path of our region.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use iceoryx2::node::Node;
use iceoryx2::prelude::*;

use crate::{spin, until};

fn node() -> Result<Node<ipc::Service>> {
    set_log_level(LogLevel::Error); // It warns if there is no configuration file.
    Ok(NodeBuilder::new().create::<ipc::Service>()?)
}

fn name(place: &str, end: &str) -> Result<ServiceName> {
    Ok(format!("{place}/{end}").as_str().try_into()?)
}

pub fn call(place: &str, count: u64) -> Result<Duration> {
    let service = node()?.service_builder(&name(place, "call")?);
    let service = service.request_response::<u64, u64>().open_or_create()?;
    let client = service.client_builder().create()?;
    until(|| Ok((service.dynamic_config().number_of_servers() == 1).then_some(())))?;
    let call = |n: u64| -> Result<()> {
        let pending = client.send_copy(n)?;
        let answer = spin(|| Ok(pending.receive()?))?;
        ensure!(*answer == n, "another call's answer");
        Ok(())
    };
    call(0)?;
    let start = Instant::now();
    for n in 0..count {
        call(n)?;
    }
    Ok(start.elapsed())
}

pub fn serve(place: &str, count: u64) -> Result<()> {
    let service = node()?.service_builder(&name(place, "call")?);
    let service = service.request_response::<u64, u64>().open_or_create()?;
    let server = service.server_builder().create()?;
    for _ in 0..=count {
        let request = spin(|| Ok(server.receive()?))?;
        request.send_copy(*request)?;
    }
    Ok(())
}

pub fn round_trip(place: &str, count: u64) -> Result<Duration> {
    let node = node()?;
    let open = |end| -> Result<_> {
        let service = node.service_builder(&name(place, end)?);
        Ok(service.publish_subscribe::<u64>().open_or_create()?)
    };
    let (there, back) = (open("there")?, open("back")?);
    let subscriber = back.subscriber_builder().create()?;
    let publisher = there.publisher_builder().create()?;
    let counted = || {
        there.dynamic_config().number_of_subscribers()
            + back.dynamic_config().number_of_publishers()
    };
    until(|| Ok((counted() == 2).then_some(())))?;
    let trip = |n: u64| -> Result<()> {
        publisher.send_copy(n)?;
        let answer = spin(|| Ok(subscriber.receive()?))?;
        ensure!(*answer == n, "another message");
        Ok(())
    };
    trip(0)?;
    let start = Instant::now();
    for n in 0..count {
        trip(n)?;
    }
    Ok(start.elapsed())
}

pub fn echo(place: &str, count: u64) -> Result<()> {
    let node = node()?;
    let open = |end| -> Result<_> {
        let service = node.service_builder(&name(place, end)?);
        Ok(service.publish_subscribe::<u64>().open_or_create()?)
    };
    let (there, back) = (open("there")?, open("back")?);
    let publisher = back.publisher_builder().create()?;
    let subscriber = there.subscriber_builder().create()?;
    for _ in 0..=count {
        let message = spin(|| Ok(subscriber.receive()?))?;
        publisher.send_copy(*message)?;
    }
    Ok(())
}

pub fn open(place: &str, count: u64) -> Result<Duration> {
    let node = node()?;
    let name = name(place, "open")?;
    let create = || node.service_builder(&name).publish_subscribe::<u64>();
    let _service = create().create()?;
    let start = Instant::now();
    for _ in 0..count {
        drop(create().open()?);
    }
    Ok(start.elapsed())
}
