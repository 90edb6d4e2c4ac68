"""What GJSON never leads anywhere with is refused, with the place in the text."""

from __future__ import annotations

import pytest

from katibflow.experiment.gjson_path import path_of

REFUSED = {
    "": "an empty key at the end",
    "status..x": "an empty key at character 8",
    "status.": "an empty key at the end",
    ".status": "an empty key at character 1",
    "status|": "an empty key at the end",
    " status": "a blank in a key at character 1",
    "a b": "a blank in a key at character 2",
    "a.###": "# after # at character 4",
    "a.#x": "x after # at character 4",
    "a.#(type=='Complete')#": "a text in single quotes (GJSON has double quotes) at character 11",
    'a.#(type=="Complete"': "a bracket that is not closed at character 3",
    'a.#(type=="Complete)#': "a quote that is not closed at character 11",
    'a.#(type=="Complete"x)': "x after a text in quotes at character 21",
    "a.#(type==": "a bracket that is not closed at character 3",
    "a.#(type==x)#)": ") after a query at character 14",
    "a.#(type==x)y": "y after a query at character 13",
    "a.#(a!b)": "! where one of == != !% <= >= = < > % has to follow at character 6",
    "a.#(x==~maybe)": "~maybe, which is none of ~true, ~false, ~null, ~*, at character 8",
    "a)": ") in a key at character 2",
    "a.[b": "a bracket that is not closed at character 3",
    "a.@nope": "@nope, which is none of @flatten, @fromstr",
    "a\\": "a backslash with nothing after it at the end",
    "!maybe": "! without a JSON value at character 1",
    '@flatten:{"deep"': "what is no JSON at character 10",
    "a." * 2000 + "a": "4001 characters; at most 2000 are read",
    "a.#(" * 200 + ")" * 200: "brackets nested deeper than 20",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=lambda text: text[:30])
def test_what_leads_nowhere_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        path_of(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        'status.conditions.#(type=="Complete")#|#(status=="True")#',
        "status.conditions.#(type==Complete)#|#(status==True)#",
        'status.conditions.#[type=="Complete"]#|#[status=="True"]#',
        'status.[@this].#(applicationState.state=="COMPLETED")#',
        'status.#( type == "a b" )',
        "metadata.annotations.a\\.b/c|@fromstr",
        '{"state":status.phase,reason:status.message,status.x}',
        "..#(kind==Job)",
        "status.!x",
    ],
)
def test_what_may_lead_somewhere_is_read(text: str) -> None:
    assert path_of(text).parts
