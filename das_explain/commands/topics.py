"""``das-explain help``: what a model, data and measures may be, a page each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_type_hints

import typer

from das_explain.commands.help import WIDTH, entry, wrapped

MODELS = """\
A model is named by a SPEC, wherever a command takes one:

  DIR                         a model directory: this project's, timm's or transformers' layout
  collage-resnet18            a network that comes with das-explain, by its short name
  FILE[@ARCH[:ATTENTION]]     a weight file (.pth .pt .ckpt .safetensors ...) and its network;
                              ARCH: a name that das-explain models lists, or any of
                              torchvision's or timm's (torchvision:NAME, timm:NAME); without it the
                              file is recognised by its tensors; ATTENTION: das and others, see
                              das-explain models
  torchvision:NAME[:WEIGHTS]  torchvision's weights, the best unless named; none: random ones
  timm:NAME                   timm's pretrained weights; timm:NAME@FILE: its network with a file's
  hf:USER/REPO[@REVISION]     a model directory on the Hugging Face Hub
  python:MODULE:FACTORY[@FILE]
                              your own: FACTORY() of MODULE gives the network, FILE its weights

Before it:

  NAME=SPEC                   the model's name in tables and figures; several models of one NAME
                              are copies of one design, trained anew

After it:

  ?key=value&key=value        of any SPEC: size=224 or 192x256, resize=256, mean=0.5,0.5,0.5,
                              std=0.5, interpolation=bicubic, fit=crop|squash (the input; one
                              number for grey images), labels=FILE (class names), logits=MODULE
                              (whose output the logits are), activation=softmax|sigmoid|none; of a
                              file also entry=KEY (which of its weights) and arguments of the
                              network, such as alpha=0.1
  +attention=NAME[@BLOCK,...] untrained gates put into a network that has none, NAME as das: in a
                              backbone of das-explain models where its paper puts them, in any
                              other after the stages, or after BLOCK; they start at the identity, a
                              das gate near it
  +gates=ones|mean|shuffled   the attention of its gates replaced: left out, without places (each
                              channel's mean), or with its values in other places
  +weights=random[:BLOCK]     what it learned forgotten: all of it, or from the classifier down to
                              and including BLOCK

Class names of a checkpoint that has none: --labels FILE, or --labels NAME=FILE for one of several
models; a line each in logit order, or a JSON list. das-explain models show SPEC tells what is
inside a checkpoint. A shell needs quotes around ? and &.

Examples:

  --model plain=runs/plain/best.pth@resnet50 --model das=runs/das/best.pth@resnet50:das
  --model 'a=net.ckpt@mobilenet_v2:das?alpha=0.1&size=160' --model torchvision:resnet50
  --model das=das.pth@resnet50:das --model off=das.pth@resnet50:das+gates=mean
  --model shipped=collage-das-resnet18 --model top=net.pth@timm:resnet26+weights=random:layer4
"""

DATA = """\
DATA is where photos, classes and masks come from:

  FOLDER                      photos, one sub-folder per class; or flat, and unlabelled
  FILE.csv                    columns image[,label][,mask], paths relative to the CSV, and
                              rectangles: x0,y0,x1,y1 (a row each), or boxes "x0 y0 x1 y1;..."
  s3://BUCKET/FOLDER          either of the two in a store, also gs:// and hf://datasets/USER/REPO:
                              fetched photo by photo into the cache
  collage[:train|test][:[SKIP+]N]
                              the embedded photo set with its exact masks, N photos (100 unless
                              said), after SKIP others
  torchvision:NAME            a data set of torchvision, such as OxfordIIITPet (which has masks),
                              below --root, fetched when it is not there
  cifar:FOLDER[:train|test]   CIFAR-10 or CIFAR-100, binary version
  stanford-dogs:FOLDER[:train|test]
                              Stanford Dogs with its official split
  PHOTO.jpg                   one photo; heatmap and gate take several, and folders

evaluate takes FILE.json[@FOLDER] for detectors: objects in COCO's format, photos in FOLDER.

Which photos: --sample N draws N of them by --seed, whatever the machine and the order;
--stratified the same number of each class; --split train or test.

Where the object is, region R, in this order unless --segmenter says otherwise:

  --masks                     a folder of images matched by name, a CSV (image,mask), a COCO file
  the data's own masks        of a CSV, of collage, of OxfordIIITPet
    --mask-value VALUE|FILE   what of them is R where they hold several classes: numbers (15),
                              colours (#c08080), categories of a COCO file, commas between them;
                              or a CSV (label,value or image,value), or CVAT's labelmap.txt
    --instances largest       one of several objects, in place of all
    --crowd                   a COCO file's crowd regions (iscrowd) are R, too
  grounded-sam                found by networks for the photo's class, kept in a cache;
                              --prompt "a dog" where photos have no classes
  --box-masks                 rectangles of the CSV or of --boxes as they are, in place of masks

das-explain segment DATA --out FOLDER writes the masks as files, to look at and correct.

Examples:

  das-explain sfd photos/ --masks masks/ --sample 500 --stratified ...
  das-explain sfd list.csv --box-masks ...
  das-explain heatmap dog.jpg --segmenter grounded-sam --prompt "a dog" ...
"""


def models_page() -> str:
    return MODELS


def data_page() -> str:
    return DATA


def measures_page() -> str:
    """From the registries, so that it is complete."""
    from das_explain.cam.methods import METHODS
    from das_explain.measures.sfd import BOXES, SCALINGS
    from das_explain.nulls import NULLS

    return "\n".join(
        [
            "Maps are made by a method (--method):",
            "",
            *wrapped(", ".join(METHODS), WIDTH - 2, "  "),
            "",
            "They are scored on region R by measures (--measure):",
            "",
            *_measures(needs_network=False),
            "",
            "or on what the network says to changed photos, of sfd only: while the network is at hand, and",
            "again about every null:",
            "",
            *_measures(needs_network=True),
            "",
            "beside maps that know nothing of the photo (--nulls):",
            "",
            *(line for name, each in NULLS.items() for line in _entry(name, _about(each.make))),
            "",
            "sfd, and every other measure that has a say in it, takes",
            "",
            *_entry("--threshold", "tau: pixels of at least this weight are salient."),
            *_entry("--scaling", f"What is done to weights before they are added: {', '.join(SCALINGS)}."),
            *_entry("--box", f"What B is: {', '.join((*BOXES, 'shared'))}."),
            "",
        ]
    )


def _measures(*, needs_network: bool) -> Iterator[str]:
    from das_explain.measures import MEASURES

    for name, each in MEASURES.items():
        if each.needs_network == needs_network:
            yield from _entry(name, _about(each.compute) + " Lower is better." * (not each.higher_is_better))


def _about(function: Callable[..., Any]) -> str:
    """The first paragraph of what the function's file says of itself."""
    return " ".join((sys.modules[function.__module__].__doc__ or "").split("\n\n")[0].split())


def _entry(name: str, text: str) -> list[str]:
    return entry(name, text, WIDTH - 2)


def machines_page() -> str:
    """What ``--engine ray`` takes, an option each."""
    from dataclasses import fields

    from das_explain.commands.machines import Machines

    lines = ["--engine ray spreads sfd, segment and gate over the machines of a Ray cluster:", ""]
    hints = get_type_hints(Machines, include_extras=True)
    for field in fields(Machines):
        option = hints[field.name].__metadata__[0]
        if option.hidden:
            lines += _entry(f"--{field.name.replace('_', '-')} {option.metavar}", option.help)
    lines += [
        "",
        "Example:",
        "",
        "  das-explain sfd photos/ -m a=... --out runs/mine --engine ray --ray-address head:6379",
    ]
    return "\n".join(lines) + "\n"


TOPICS: dict[str, tuple[str, Callable[[], str]]] = {
    "models": ("what may be given as a model: the SPEC of --model", models_page),
    "data": ("what may be given as data, and where masks come from", data_page),
    "measures": ("methods, measures, nulls and scalings by name", measures_page),
    "machines": ("options of --engine ray: many processes or machines", machines_page),
}


def help_page(
    context: typer.Context,
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help="A topic, or a command; the list of topics unless given.")
    ] = None,
) -> None:
    """Explain what a command line may hold: models, data, measures; or show a command's help.

    Example: das-explain help models
    """
    from das_explain.errors import UsageError

    if topic is None:
        print("\n".join(f"das-explain help {name:<10} {title}" for name, (title, _) in TOPICS.items()))
        print(f"das-explain help COMMAND    {', '.join(_commands(context))}")
    elif topic in TOPICS:
        print(TOPICS[topic][1](), end="")
    elif command := _commands(context).get(topic):
        above = context.parent
        print(command.get_help(type(context)(command, info_name=topic, parent=above)))
    else:
        raise UsageError(f"no help on {topic!r}; there is {', '.join((*TOPICS, *_commands(context)))}")


def _commands(context: typer.Context) -> dict:
    group: Any = context.parent.command if context.parent else None
    return {name: each for name, each in group.commands.items() if name not in TOPICS}
